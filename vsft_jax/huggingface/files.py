"""Hugging Face model directories: where they are, and their weights as safetensors files.

Weights are read from safetensors only. Pickles (*.bin, *.pt, *.pth) run whatever code they hold
when they are loaded, so they are refused.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from input_pipeline.errors import UserError
from input_pipeline.files import naming

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_DOWNLOADED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


class HFError(UserError, ValueError):
    """A Hugging Face directory cannot be used; the message names the file and the remedy."""


def local_directory(path: str | Path) -> Path:
    """A directory as it is, or the local copy of a hub id ("Qwen/Qwen2.5-VL-7B-Instruct").

    Raises HFError for a path that is neither, and where the hub cannot be reached.
    """
    if Path(path).is_dir():
        return Path(path).absolute()
    if not re.fullmatch(_HUB_ID, str(path)):
        raise HFError(f"{path}: there is no such directory, and it is not a Hugging Face hub id")
    return _download(str(path))


@functools.lru_cache
def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_DOWNLOADED)))
    except Exception as error:  # the hub's, the HTTP library's or the system's
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HFError(
            f"{hub_id}: there is no such directory, and it could not be downloaded from the "
            f"Hugging Face hub ({reason}). Without network, give a directory that holds the model"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object. Raises HFError where it is missing, broken or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HFError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HFError(f"{path}: not a JSON file ({error})") from error
    except RecursionError as error:
        raise HFError(f"{path}: brackets are nested too deeply for a model's file") from error
    if not isinstance(value, dict):
        raise HFError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def model_fingerprint(directory: Path) -> str:
    """Changes when the model in a directory does: its config.json, its weights' sizes and dates."""
    digest = hashlib.sha256()
    config = directory / "config.json"
    digest.update(config.read_bytes() if config.is_file() else b"")
    files = sorted(directory.glob("*.safetensors"))
    facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digest.update(json.dumps(facts).encode())
    return digest.hexdigest()[:16]


class SafetensorsReader:
    """The tensors of a directory's safetensors files, read slice by slice.

    shapes: name -> shape of every tensor. Use as a context manager: files stay mapped inside.
    Raises HFError for files that are missing, broken, or outside of the directory, and for
    tensors of a type that is not a plain float.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.itemsizes: dict[str, int] = {}
        self._slices: dict[str, Any] = {}
        problems = []
        for file, names in _files(self.directory).items():
            found = _open(self.directory / file)
            for name in found.keys() if names is None else names:
                try:
                    tensor = found.get_slice(name)
                except SafetensorError:
                    problems.append(f"{name} is not in {file}, where {INDEX} says it is")
                    continue
                if tensor.get_dtype() not in _DTYPES:
                    problems.append(
                        f"{name} is stored as {tensor.get_dtype()}: quantised checkpoints are not "
                        "read, take the one in bfloat16"
                    )
                    continue
                self.shapes[name] = tuple(tensor.get_shape())
                self.itemsizes[name] = np.dtype(_DTYPES[tensor.get_dtype()]).itemsize
                self._slices[name] = tensor
        if problems:
            raise HFError(f"{self.directory}: " + "; ".join(problems[:10]))

    def read(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """Part of a tensor, in its stored dtype; only these bytes are read."""
        return self._slices[name][index]

    def __enter__(self) -> "SafetensorsReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._slices.clear()


def _files(directory: Path) -> Mapping[str, list[str] | None]:
    """File name -> names of its tensors, None for all of them."""
    if (directory / WEIGHTS).is_file():
        return {WEIGHTS: None}
    if (directory / INDEX).is_file():
        weight_map = read_json(directory / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise HFError(f"{directory / INDEX}: has no weight_map")
        if odd := [name for name, file in weight_map.items() if not isinstance(file, str)]:
            raise HFError(f"{directory / INDEX}: the weight_map names no file for {odd[0]!r:.80}")
        files: dict[str, list[str]] = {}
        for name, file in weight_map.items():
            files.setdefault(file, []).append(name)
        for file in files:
            # By name only: in the hub's cache the files themselves are links to elsewhere.
            path = PurePosixPath(file)
            if path.is_absolute() or ".." in path.parts or "\\" in file:
                raise HFError(f"{directory / INDEX}: {file!r} is outside of the directory")
        if missing := sorted(file for file in files if not (directory / file).is_file()):
            raise HFError(
                f"{directory}: {', '.join(missing)} of {INDEX} not there; "
                "the download or copy is incomplete"
            )
        return files
    pickles = sorted(p.name for p in directory.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
    if pickles:
        raise HFError(
            f"{directory} holds its weights as pickle only ({pickles[0]}). Loading a pickle runs "
            "the code inside it, so only safetensors are read. To convert, where the source is "
            "trusted, with torch and transformers: "
            f'AutoModelForImageTextToText.from_pretrained("{directory}")'
            '.save_pretrained("NEW_DIRECTORY", safe_serialization=True)'
        )
    others = ", ".join(sorted(p.name for p in directory.glob("*.safetensors"))[:3])
    raise HFError(
        f"{directory} has neither {WEIGHTS} nor {INDEX}" + (f", only {others}" if others else "")
    )


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "numpy")
    except (SafetensorError, OSError) as error:
        with path.open("rb") as file:
            if file.read(24).startswith(b"version https://git-lfs"):
                raise HFError(
                    f"{path} is a Git LFS pointer, not the file itself: run git lfs pull there"
                ) from error
        raise HFError(
            f"{path} is broken or incomplete ({error}): download or copy it again"
        ) from error


# ── Writing. ────────────────────────────────────────────────────────────────────────────────────


def write_safetensors(
    path: Path,
    tensors: Sequence[tuple[str, tuple[int, ...], np.dtype]],
    make: Callable[[str], np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Writes a safetensors file with one tensor in memory at a time.

    The library's own writers want all of a file's tensors at once. The format is a JSON header
    with its length before it and the tensors' bytes one after another behind it.

    Args:
        path: appears when complete, or not at all.
        tensors: name, shape and dtype of each.
        make: name -> array of that shape, which is cast to that dtype.
        metadata: free text of the header; {"format": "pt"} is what transformers asks for.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape, dtype in tensors:
        start, end = end, end + int(np.prod(shape)) * np.dtype(dtype).itemsize
        header[name] = {
            "dtype": _DTYPE_NAMES[np.dtype(dtype)],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with naming(path), unfinished.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape, dtype in tensors:
            array = np.asarray(make(name).astype(dtype, copy=False), order="C")
            if array.shape != tuple(shape):
                raise ValueError(f"{name} is {array.shape}, announced as {shape}")
            file.write(array.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
