"""Folders that can be worked in, checked before anything is done."""

import os
from pathlib import Path

from input_pipeline import mirrors
from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.paths import is_remote, user_cache


def existing(named: str, flag: str = "workdir") -> Path:
    """A folder that must be there. Raises UserError with the flag, naming one that is near.

    Of an address it is the copy on this machine, see `mirrors`.
    """
    if is_remote(named):
        if not mirrors.names_below(named):
            raise UserError(f"--{flag}={named}: nothing is there")
        return mirrors.copy_of(named)
    workdir = Path(named)
    if not workdir.exists():
        beside = workdir.parent.iterdir() if workdir.parent.is_dir() else ()
        names = [path.name for path in beside if path.is_dir()]
        near = did_you_mean(workdir.name, names, str(workdir)[: -len(workdir.name)])
        raise UserError(f"--{flag}={named}: no such folder{near}")
    if not workdir.is_dir():
        raise UserError(f"--{flag}={named} is a file: name a folder")
    return workdir


def writable(named: str) -> Path:
    """A folder that can be written, made if it is not there. Raises UserError.

    Of an address it is the copy on this machine; whether that can be written is seen when it is.
    """
    if is_remote(named):
        return mirrors.copy_of(named)
    workdir = Path(named)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--workdir={named}: a file is in the way") from error
    except OSError as error:
        raise UserError(f"--workdir={named} cannot be made: {error.strerror}") from error
    if not os.access(workdir, os.W_OK | os.X_OK):
        raise UserError(f"--workdir={named} cannot be written: name another folder")
    return workdir


def of_user() -> Path:
    """Where an imported model answers without a workdir."""
    return user_cache()
