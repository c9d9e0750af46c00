"""Where a benchmark's official files may lie: below the configured root, or in the Hugging Face
cache."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from evaluation.benchmarks.benchmark import Benchmark


def find_folders(benchmark: Benchmark, root: str) -> list[Path]:
    """The folders that hold the benchmark's files, or part of them; none where there is none.

    Names are those of its repositories, with or without their owner, whatever their case, dashes
    and underscores: "lmms-lab/Video-MME", "Video-MME", "videomme". In <root> (an absolute path, ""
    for none), in the hub's cache, and in the cache's parent, where lmms-eval unpacks.
    """
    import huggingface_hub.constants as hub  # takes a while

    tops = [Path(root)] if root else []
    tops += [Path(hub.HF_HUB_CACHE), Path(hub.HF_HOME)]
    found: dict[Path, None] = {}
    for top in tops:
        for folder in _below(benchmark, top):
            found[folder.resolve()] = None
    return list(found)


def revision_of(folder: Path) -> str:
    """The commit on the hub that a folder was downloaded from; "" where it does not say."""
    if folder.parent.name == "snapshots":
        return folder.name
    for path in sorted((folder / ".cache" / "huggingface" / "download").rglob("*.metadata")):
        first = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
        if re.fullmatch(r"[0-9a-f]{40}", first):
            return first
    return ""


def _below(benchmark: Benchmark, top: Path) -> Iterator[Path]:
    wanted = {_plain(benchmark.name)}
    owners = set()
    for repository in benchmark.repositories:
        owner, _, name = repository.partition("/")
        wanted |= {_plain(name), _plain(owner + name), _plain(f"datasets{owner}{name}")}
        owners.add(_plain(owner))
    if top.is_dir() and _plain(top.name) in wanted:
        yield from _snapshot(top)
    for child in _folders(top):
        if _plain(child.name) in wanted:
            yield from _snapshot(child)
        if _plain(child.name) in owners:  # longvideobench/LongVideoBench: maybe both
            yield from (each for each in _folders(child) if _plain(each.name) in wanted)


def _snapshot(folder: Path) -> Iterator[Path]:
    """A folder as it is; of a repository in the hub's cache the revision that "main" was, else the
    one that came last."""
    snapshots = list(_folders(folder / "snapshots"))
    if not snapshots:
        yield folder
        return
    main = folder / "refs" / "main"
    chosen = main.read_text().strip() if main.is_file() else ""
    yield from [s for s in snapshots if s.name == chosen] or [
        max(snapshots, key=lambda s: s.stat().st_mtime)
    ]


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
