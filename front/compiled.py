"""Compiled functions that a folder keeps: what is damaged goes before JAX reads it.

JAX writes an entry in place and never again under the same name, so one that a killed process cut
off would be refused at every start. A flipped bit is worse: Zstandard, with which entries are
packed where it is installed, does not notice it there, and the damaged function is run and ends the
process.
"""

import json
import zlib
from pathlib import Path

from absl import logging

from input_pipeline.files import checksum, write_atomically

CHECKSUMS = "crc32.json"  # of each entry that was there when a job began: [size, CRC-32]


def remove_damaged(folder: Path) -> None:
    """Removes the entries of a compilation cache that are not what they were, or that a killed
    process did not finish; they are compiled again. Reads all of them."""
    if not folder.is_dir():
        return
    known, whole = _known(folder / CHECKSUMS), {}
    for path in sorted(folder.glob("*-cache")):
        try:
            found = list(checksum(path))
            intact = known[path.name] == found if path.name in known else _unpacks(path)
            if intact:
                whole[path.name] = found
            else:
                logging.warning("%s is damaged: that function is compiled again", path)
                path.unlink()
        except OSError as error:  # JAX does without what it cannot read
            logging.warning("%s cannot be checked: %s", path, error)
    if whole != known:
        write_atomically(folder / CHECKSUMS, json.dumps(whole, indent=0))


def _known(path: Path) -> dict[str, list[int]]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _unpacks(path: Path) -> bool:
    """Whether an entry that is new is whole, by what JAX packs it with: Zstandard where that is
    installed, else zlib."""
    packed = path.read_bytes()
    try:
        import zstandard

        zstandard.ZstdDecompressor().decompress(packed)
    except ImportError:
        try:
            zlib.decompress(packed)
        except zlib.error:
            return False
    except zstandard.ZstdError:
        return False
    return True
