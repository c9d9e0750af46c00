"""Folders that can be worked in, checked before anything is done."""

import os
from pathlib import Path

from input_pipeline.errors import UserError, did_you_mean


def existing(named: str, flag: str = "workdir") -> Path:
    """A folder that must be there. Raises UserError with the flag, naming one that is near."""
    workdir = _local(named)
    if not workdir.exists():
        beside = workdir.parent.iterdir() if workdir.parent.is_dir() else ()
        names = [path.name for path in beside if path.is_dir()]
        near = did_you_mean(workdir.name, names, str(workdir)[: -len(workdir.name)])
        raise UserError(f"--{flag}={named}: no such folder{near}")
    if not workdir.is_dir():
        raise UserError(f"--{flag}={named} is a file: name a folder")
    return workdir


def writable(named: str) -> Path:
    """A folder that can be written, made if it is not there. Raises UserError."""
    workdir = _local(named)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--workdir={named}: a file is in the way") from error
    except OSError as error:
        raise UserError(f"--workdir={named} cannot be made: {error.strerror}") from error
    if not os.access(workdir, os.W_OK | os.X_OK):
        raise UserError(f"--workdir={named} cannot be written: name another folder")
    return workdir


def _local(named: str) -> Path:
    if "://" in named:
        raise UserError(f"--workdir={named} is an address: mount the bucket and name the folder")
    return Path(named)


def of_user() -> Path:
    """Where an imported model answers without a workdir: the user's cache, as the XDG base
    directory specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vsft-jax"
