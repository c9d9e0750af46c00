"""Where the media of a request lie. A client names files of this machine: only what is allowed is
looked at, anything else is refused before it is touched."""

import base64
import binascii
import dataclasses
import fnmatch
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from input_pipeline.examples import MediaKind, MediaRef
from input_pipeline.paths import below, located
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.serve.errors import RequestError

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII)
_SHOWN = 80  # characters of an address in a message


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Which media may be read. root: an absolute folder, "" for no files at all. hosts: of http and
    https addresses, with * for any part of a name."""

    root: str
    hosts: Sequence[str]

    @classmethod
    def of(cls, run: Run) -> "Allowed":
        """What `config.serve` allows. Raises ConfigError for a root that is no folder."""
        serve = run.config.serve
        root = located(serve.media_root, run.data_root) if serve.media_root else ""
        if root and not Path(root).is_dir():
            raise ConfigError(
                f"config.serve.media_root = {serve.media_root!r}: there is no folder {root}"
            )
        return cls(root, tuple(host.lower() for host in serve.media_hosts))


def find_medium(kind: MediaKind, url: str, allowed: Allowed, folder: Path, param: str) -> MediaRef:
    """The medium that a request names by a data URL, a file:// URL, a path, or an http address.

    folder: of this request; the bytes of a data URL are written there. param: of the request, for
    errors. Raises RequestError.
    """
    if url.startswith("data:"):
        return MediaRef(kind, _saved(url, folder, param))
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme in ("http", "https"):
        return MediaRef(kind, _fetched(url, allowed.hosts, param))
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise _refused(url, f"{parts.netloc!r} is another machine", param)
        return MediaRef(kind, _placed(unquote(parts.path), url, allowed.root, param))
    if scheme:
        raise _refused(url, f"{scheme}:// is not read here", param)
    return MediaRef(kind, _placed(url, url, allowed.root, param))


def shown(url: str) -> str:
    """An address in a message: short, and of a data URL its beginning."""
    if url.startswith("data:"):
        return f"{url.partition(',')[0][:_SHOWN]},…"
    return url if len(url) <= _SHOWN else f"{url[:_SHOWN]}…"


def _saved(url: str, folder: Path, param: str) -> str:
    head = _DATA.match(url)
    if head is None or not head[3]:
        raise RequestError(
            f"{param}: {shown(url)} is no data URL such as data:video/mp4;base64,…",
            param=param,
            code="invalid_data_url",
        )
    try:
        content = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"{param}: what follows {shown(url)} is not base64: {error}",
            param=param,
            code="invalid_data_url",
        ) from error
    path = folder / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return str(path)


def _fetched(url: str, hosts: Sequence[str], param: str) -> str:
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError as error:
        raise _refused(url, str(error), param) from error
    if not host or not any(fnmatch.fnmatchcase(host, pattern) for pattern in hosts):
        known = ", ".join(hosts) or "no host"
        raise _refused(url, f"media are fetched from {known} (config.serve.media_hosts)", param)
    return url


def _placed(path: str, url: str, root: str, param: str) -> str:
    if not root:
        raise _refused(url, "no files are read here (config.serve.media_root is empty)", param)
    try:
        full = below(path, root)
        # A link below the root may lead out of it. Members of archives and rates of frame folders
        # are no part of a name on disk.
        on_disk = os.path.realpath(full.partition("::")[0].partition("?fps=")[0])
        below(on_disk, os.path.realpath(root))
    except ValueError:
        raise _refused(url, "it does not lie below config.serve.media_root", param) from None
    return full


def _refused(url: str, why: str, param: str) -> RequestError:
    return RequestError(f"{param}: {shown(url)}: {why}", param=param, code="media_not_allowed")
