"""The manifest of a checkpoint: size and checksum of each of its files.

It is written into the folder that Orbax renames when a save is complete, so a checkpoint has it
from the beginning. At an address it holds sizes alone: storage services checksum what they keep,
and the bytes would have to come back over the network.
"""

import functools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from absl import logging

from input_pipeline.files import checksum, write_atomically
from input_pipeline.mirrors import sizes
from input_pipeline.paths import is_remote
from vsft_jax.checkpoints.places import Folder
from vsft_jax.processes import gather

MANIFEST = "manifest.json"
ITEMS = ("params", "optimizer", "meta")
_THREADS = min(8, os.cpu_count() or 1)


def write_manifest(folder: Folder) -> None:
    """Writes the manifest of a checkpoint whose files are all there."""
    if is_remote(str(folder)):
        there = sizes(str(folder)).items()
        listed = {name: (size, None) for name, size in there if name.split("/")[0] in ITEMS}
        (folder / MANIFEST).write_text(json.dumps({"crc32": listed}, indent=0))
        return
    names = [
        str(path.relative_to(folder))
        for item in ITEMS
        for path in sorted((folder / item).rglob("*"))
        if path.is_file()
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        facts = pool.map(lambda name: checksum(folder / name), names)
        files = dict(zip(names, facts, strict=True))
    write_atomically(folder / MANIFEST, json.dumps({"crc32": files}, indent=0))


def damage(folder: Folder, items: Sequence[str] = ITEMS) -> str | None:
    """What is wrong with the files of some items of a checkpoint, or None.

    Each process reads its share of the files, and all of them learn what one found; to be called
    by all of them. A checkpoint without a manifest, of an earlier version, is taken as it is.
    """
    share = slice(jax.process_index(), None, jax.process_count())
    found = gather(_damage(folder, items, share))
    return next((problem for problem in found if problem), None)


def _damage(folder: Folder, items: Sequence[str], share: slice) -> str | None:
    remote = is_remote(str(folder))
    if remote and share.start:  # one listing tells it all
        return None
    path = folder / MANIFEST
    if not path.exists():
        logging.info("%s has no %s, so its files are not verified", folder, MANIFEST)
        return None
    try:
        files = json.loads(path.read_text())["crc32"]
        wanted = [name for name in files if name.split("/")[0] in items]
        if remote:
            return _missing(str(folder), {name: files[name][0] for name in wanted})
        wanted = wanted[share]
        with ThreadPoolExecutor(_THREADS) as pool:
            check = functools.partial(_problem, folder)
            problems = pool.map(check, wanted, [files[name] for name in wanted])
            return next((problem for problem in problems if problem), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be used ({error})"


def _missing(folder: str, written: Mapping[str, Any]) -> str | None:
    """What is wrong with the sizes of objects below an address."""
    there = sizes(folder)
    for name, size in written.items():
        if name not in there:
            return f"{name} is missing"
        if there[name] != size:
            return _wrong_size(name, there[name], size)
    return None


def _wrong_size(name: str, here: int, written: int) -> str:
    return f"{name} has {here} bytes, not the {written} that were written"


def _problem(folder: Path, name: str, facts: Sequence[int]) -> str | None:
    size, written = facts
    try:
        here = (folder / name).stat().st_size
        if here != size:
            return _wrong_size(name, here, size)
        if checksum(folder / name)[1] != written:
            return f"{name} does not hold the bytes that were written"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None
