"""Where the checkpoints of a workdir lie: in it, or at the address that it mirrors.

Orbax writes there itself, each host its part. On gs:// nothing can be renamed at once: a step has
its name from the beginning, and is finished when `COMMITTED` is there.
"""

import shutil
from pathlib import Path
from typing import TypeAlias

from etils import epath

from input_pipeline.mirrors import address_of, names_below, sizes
from input_pipeline.paths import is_remote
from vsft_jax.checkpoints.errors import CheckpointError

UNFINISHED = ".orbax-checkpoint-tmp"  # after the step, of a save that is under way or was killed
COMMITTED = "commit_success.txt"
_WRITTEN_BY_ORBAX = ("gs://", "s3://")

Folder: TypeAlias = Path  # an epath.Path at an address, which has the same methods but rglob


def home(workdir: str | Path) -> Folder:
    """The folder of a workdir's checkpoints. workdir: a folder, or an address.

    Raises CheckpointError for an address that Orbax cannot write to.
    """
    address = address_of(workdir)
    if address and not address.startswith(_WRITTEN_BY_ORBAX):
        raise CheckpointError(
            f"{address}: checkpoints lie in a folder, or at an address that begins with "
            f"{' or '.join(_WRITTEN_BY_ORBAX)}"
        )
    folder = epath.Path(address) if address else Path(workdir).absolute()
    return folder / "checkpoints"


def steps_of(directory: Folder) -> list[int]:
    """The steps that have a finished checkpoint, the newest first."""
    steps = (name for name in _names(directory) if name.isdigit())
    return sorted((int(s) for s in steps if _is_finished(directory / s)), reverse=True)


def unfinished(directory: Folder) -> list[Folder]:
    """What saves that are under way, or were killed, have written so far, and what removals have
    left."""
    if not _commits(directory):
        return list(directory.glob(f"*{UNFINISHED}*"))
    steps = [directory / name for name in _names(directory) if name.isdigit()]
    return [step for step in steps if not _is_finished(step)]


def remove(checkpoint: Folder) -> None:
    """Removes a finished checkpoint. First it loses its name, so that a kill leaves something
    `unfinished`, and no part of a checkpoint. Raises OSError."""
    if _commits(checkpoint):
        (checkpoint / COMMITTED).unlink()
        left = checkpoint
    else:
        left = checkpoint.with_name(f"{checkpoint.name}{UNFINISHED}-removed")
        checkpoint.rename(left)
    remove_tree(left)


def remove_tree(folder: Folder) -> None:
    """Removes a folder with all that is in it. Raises OSError."""
    folder.rmtree() if isinstance(folder, epath.Path) else shutil.rmtree(folder)


def bytes_below(folder: Folder) -> int:
    """The size of all files in a folder together."""
    if is_remote(str(folder)):
        return sum(sizes(str(folder)).values())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def written_at(checkpoint: Folder) -> int:
    """When a finished checkpoint was written, for telling it from another one in its place."""
    if is_remote(str(checkpoint)):
        return epath.Path(checkpoint / COMMITTED).stat().mtime
    return checkpoint.stat().st_mtime_ns


def _is_finished(step: Folder) -> bool:
    return not _commits(step) or COMMITTED in _names(step)


def _names(folder: Folder) -> list[str]:
    if is_remote(str(folder)):  # not through epath, which keeps lists that others have changed
        return names_below(str(folder))
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _commits(folder: Folder) -> bool:
    """Whether Orbax writes `COMMITTED` here, in place of a rename."""
    return str(folder).startswith("gs://")
