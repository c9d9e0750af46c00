"""The packages that hold the pictures and clips, by name and version, and their way to a folder of
this machine: fetched from their registry once, checked by their hash."""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from absl import logging

from input_pipeline.errors import UserError
from input_pipeline.progress import Progress

# A registry's address and a package's path make a file's; a mirror has another address.
REGISTRIES = {"npm": "https://registry.npmjs.org", "pypi": "https://files.pythonhosted.org"}

_ATTEMPTS = 3  # each goes on where the one before broke off
_TIMEOUT_S = 60.0  # without a byte
_BLOCK = 1 << 20


class PackageError(UserError, OSError):
    """A package cannot be had, or does not hold what it should."""


@dataclasses.dataclass(frozen=True)
class Package:
    """One file of a registry.

    registry: a key of `REGISTRIES`. path: below the registry's address. size: in bytes. sha512:
    of the file, in base64, as npm's own "integrity" has it.
    """

    registry: str
    name: str
    version: str
    path: str
    size: int
    sha512: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


def _npm(name: str, version: str, size: int, sha512: str) -> Package:
    path = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    return Package("npm", name, version, path, size, sha512)


# All under the MIT licence, as their own package files say.
STILLS = _npm(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    15792027,
    "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
)
CLIPS = (
    _npm(
        "@lobehub/fluent-emoji-anim-1",
        "1.0.0",
        164966217,
        "/4m31vAuZEQ4aUJ5pxcOU5PVkuJya55GRxUZL7+zgLlxZXpzzE8jPqpDyhZICE3n47nS/Y9M5/vLdizi8201QA==",
    ),
    _npm(
        "@lobehub/fluent-emoji-anim-2",
        "1.0.0",
        181915962,
        "S6yzf0RZXrQbXdxCWuHA9BAoLdBRk2flX+ne4TPGEH/qApwisCAKHoAAGjKSlTY3OVeZ9b7t/NEbmpjawnQYJA==",
    ),
    _npm(
        "@lobehub/fluent-emoji-anim-3",
        "1.0.0",
        197000910,
        "UzRSUDMjdfdt9vER5bhjHkPqgc3EEgfGtYs6ndvizOTvQOxYQ57ow2RTkWSDZxwW30X4EYBi2eWTS7CXDDoFsg==",
    ),
    _npm(
        "@lobehub/fluent-emoji-anim-4",
        "1.0.0",
        185915894,
        "IIkl5ztSd1HrzvIDt/uGsFoC1WODXRdYq5uROrnkyqi9DbToEcJ1nlY86PnoUXeFS9nBCnHfiYk3ouSEGThFmA==",
    ),
)
EASY_VQA = Package(
    "pypi",
    "easy-vqa",
    "1.0",
    "packages/32/e7/dbdd733ea110ff04c8b0b7ce7d49acce06f1dd18ed304d9f8f9b3f26c1a3/"
    "easy_vqa-1.0-py3-none-any.whl",
    3215672,
    "0S+ZJTU96Nhh9qsvDZs9eYhndBeRw4G3isor8aCN9Hewv7+KKtsaU83wb3i6edtgaC6Tv3jZGGy+GOwrvoclAw==",
)


@dataclasses.dataclass(frozen=True)
class Pins:
    """The packages of a world; tests have small ones of their own."""

    stills: Package = STILLS
    clips: Sequence[Package] = CLIPS
    easy_vqa: Package = EASY_VQA

    def all(self) -> tuple[Package, ...]:
        """Every package, in order."""
        return (self.stills, *self.clips, self.easy_vqa)


def fetch(package: Package, folder: Path, registries: Mapping[str, str]) -> Path:
    """The package's file in `folder`: the one that is there, or fetched.

    What a broken fetch left is gone on with. registries: "npm" and "pypi" → address; file:// will
    do. Raises PackageError where it cannot be had, or is another file than its hash says.
    """
    path = folder / package.file
    if path.is_file():
        if _sha512(path) == package.sha512:
            return path
        logging.warning("%s is not %s: fetched again", path, _named(package))
    address = f"{registries[package.registry].rstrip('/')}/{package.path}"
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with partial.open("ab") as file:
        with contextlib.suppress(OSError):  # some shared disks have no locks
            fcntl.flock(file, fcntl.LOCK_EX)  # another process fetches it: this one waits
        if path.is_file() and _sha512(path) == package.sha512:
            return path
        _receive(package, address, file, path)
        file.flush()
        os.fsync(file.fileno())
        if _sha512(partial) != package.sha512:
            partial.unlink()
            raise PackageError(
                f"{address} is not {_named(package)}: its sha512 is another one\n"
                f"name a registry that has it, or put that file there by hand: {path}"
            )
        os.replace(partial, path)
    return path


def _receive(package: Package, address: str, file: BinaryIO, path: Path) -> None:
    """Appends to the file what it lacks. Raises PackageError."""
    reason: Exception | None = None
    size = file.seek(0, os.SEEK_END)
    with Progress(f"fetch {package.name}", package.size >> 20, unit="MiB", done=size >> 20) as bar:
        for _ in range(_ATTEMPTS):
            try:
                _go_on(address, file, bar)
            except urllib.error.HTTPError as error:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # all of it is there
                reason = error
                if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = error
            else:
                return
    raise PackageError(
        f"{_named(package)} cannot be fetched: {reason}\n"
        f"its address: {address}\n"
        f"put that file there by hand: {path}\n"
        "or name a mirror: config.data.emoji_world.npm and .pypi, --npm and --pypi"
    ) from reason


def _go_on(address: str, file: BinaryIO, bar: Progress) -> None:
    """From where the file ends to the end. Raises OSError and HTTPException."""
    begun = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(address, headers={"Range": f"bytes={begun}-"} if begun else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)
            begun = 0
        length = response.headers.get("Content-Length")
        done = begun
        while block := response.read(_BLOCK):
            done += file.write(block)
            bar.reach(done >> 20)
        if length is not None and done - begun < int(length):
            raise ConnectionError(f"broke off after {done - begun} of {length} bytes")


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _named(package: Package) -> str:
    return f"{package.name} {package.version} ({package.registry})"
