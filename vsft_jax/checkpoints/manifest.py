"""The manifest of a checkpoint: size and checksum of each of its files.

It is written into the folder that Orbax renames when a save is complete, so a checkpoint has it
from the beginning.
"""

import functools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from absl import logging

from input_pipeline.files import checksum, write_atomically
from vsft_jax.processes import gather

MANIFEST = "manifest.json"
ITEMS = ("params", "optimizer", "meta")
_THREADS = min(8, os.cpu_count() or 1)


def write_manifest(folder: Path) -> None:
    """Writes the manifest of a checkpoint whose files are all there."""
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


def damage(folder: Path, items: Sequence[str] = ITEMS) -> str | None:
    """What is wrong with the files of some items of a checkpoint, or None.

    Each process reads its share of the files, and all of them learn what one found; to be called
    by all of them. A checkpoint without a manifest, of an earlier version, is taken as it is.
    """
    share = slice(jax.process_index(), None, jax.process_count())
    found = gather(_damage(folder, items, share))
    return next((problem for problem in found if problem), None)


def _damage(folder: Path, items: Sequence[str], share: slice) -> str | None:
    path = folder / MANIFEST
    if not path.exists():
        logging.info("%s has no %s, so its files are not verified", folder, MANIFEST)
        return None
    try:
        files = json.loads(path.read_text())["crc32"]
        wanted = [name for name in files if name.split("/")[0] in items][share]
        with ThreadPoolExecutor(_THREADS) as pool:
            check = functools.partial(_problem, folder)
            problems = pool.map(check, wanted, [files[name] for name in wanted])
            return next((problem for problem in problems if problem), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be used ({error})"


def _problem(folder: Path, name: str, facts: Sequence[int]) -> str | None:
    size, written = facts
    try:
        here = (folder / name).stat().st_size
        if here != size:
            return f"{name} has {here} bytes, not the {size} that were written"
        if checksum(folder / name)[1] != written:
            return f"{name} does not hold the bytes that were written"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None
