"""What media were found to be, and to show, kept from one preparation to the next.

Probing opens every file of a corpus; what follows from it (frame budgets, layouts) is arithmetic.
So probes are cached by themselves: another policy, resolution or tokenizer asks again for columns
of the index, not for files.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from input_pipeline.annotations import is_record, record_file
from input_pipeline.examples import MediaRef
from input_pipeline.media import EvenTimes, MediaError, MediaInfo
from input_pipeline.paths import in_archive, in_frame_list, is_remote

_TABLE = "probes_2"  # number it anew when what `probe` finds out changes
_MEASURED = "measured_1"  # likewise, what frame policies measure
_WAIT_SECONDS = 60.0  # for another process that is writing
_DAMAGE = (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError, zlib.error)


class Probe(NamedTuple):
    """What one medium is, or why it cannot be used, while its file is as `stamp` says."""

    ref: MediaRef
    stamp: str
    found: MediaInfo | MediaError


class Measured(NamedTuple):
    """What frame policies measured of a medium, while its file is as `stamp` says: JSON values by
    name, see `BudgetQuery.of_medium`."""

    ref: MediaRef
    stamp: str
    values: Mapping[str, Any]


class ProbeCache:
    """A table of probes in a file that outlives a killed process; safe to share by threads.

    Several processes may read it while one writes. What is damaged in it counts as not known, and
    what it cannot keep is probed again another time: neither ends a preparation.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._failed = False
        self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, check_same_thread=False)
        self._change(
            f"CREATE TABLE IF NOT EXISTS {_TABLE} "
            "(medium TEXT PRIMARY KEY, stamp TEXT, facts TEXT, times BLOB) WITHOUT ROWID",
            [()],
        )
        self._change(
            f"CREATE TABLE IF NOT EXISTS {_MEASURED} "
            "(medium TEXT PRIMARY KEY, stamp TEXT, facts TEXT) WITHOUT ROWID",
            [()],
        )

    def get(self, ref: MediaRef, stamp: str) -> MediaInfo | MediaError | None:
        """What is known of a medium; None where it is not, or has changed since."""
        try:
            row = self._row(f"SELECT stamp, facts, times FROM {_TABLE} WHERE medium = ?", ref)
            if row is None or row[0] != stamp:
                return None
            facts = json.loads(row[1])
            if "reason" in facts:
                return MediaError(ref.path, facts["reason"], facts["detail"])
            return MediaInfo(**facts, frame_times=_read_times(row[2]))
        except _DAMAGE:
            return None

    def measured(self, ref: MediaRef, stamp: str) -> dict[str, Any]:
        """What was measured of a medium, as far as it has not changed since."""
        try:
            row = self._row(f"SELECT stamp, facts FROM {_MEASURED} WHERE medium = ?", ref)
            return dict(json.loads(row[1])) if row and row[0] == stamp else {}
        except _DAMAGE:
            return {}

    def put(self, found: Iterable[Probe | Measured]) -> None:
        """Keeps what was found, in place of what was of the same media before; of measurements,
        all that are known are to be given."""
        probes, measured = [], []
        for each in found:
            if isinstance(each, Probe):
                probes.append((_key(each.ref), each.stamp, *_written(each.found)))
            else:
                measured.append((_key(each.ref), each.stamp, json.dumps(dict(each.values))))
        self._change(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?)", probes)
        self._change(f"INSERT OR REPLACE INTO {_MEASURED} VALUES (?, ?, ?)", measured)

    def _row(self, query: str, ref: MediaRef) -> tuple | None:
        with self._lock:
            return self._database.execute(query, [_key(ref)]).fetchone()

    def _change(self, statement: str, rows: Sequence[tuple]) -> None:
        try:
            with self._lock, self._database:
                for row in rows:
                    self._database.execute(statement, row)
        except sqlite3.DatabaseError as error:
            if not self._failed:
                logging.warning("%s cannot keep probes: %s", self.path, error)
            self._failed = True

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "ProbeCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_damaged(path: str | os.PathLike[str]) -> None:
    """Removes a file of probes that SQLite finds damaged, and says so. This reads all of it."""
    if not os.path.exists(path):
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as database:
            ((said,), *_) = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:  # busy, or not to be opened: that is no damage
        return
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        said = " ".join(said.split())
        logging.warning("%s is damaged, so media are probed again: %s", path, said)
        for suffix in ("", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{os.fspath(path)}{suffix}")


def stamp_of(path: str) -> str | None:
    """Changes when the file or folder does; None where there is none, and nothing to keep.

    Remote files are taken to stay what they are under their address.
    """
    if listed := in_frame_list(path):
        stamps = [stamp_of(file) or "" for file in listed[0]]
        return hashlib.sha256(" ".join(stamps).encode()).hexdigest() if all(stamps) else None
    if is_record(path):
        path = record_file(path)
        path = path if os.path.exists(path) else os.path.dirname(path)  # <TFDS folder>/<split>
    elif is_remote(path):
        return "remote"
    elif found := in_archive(path):
        path = found[0]
    try:
        status = os.stat(path.rpartition("?fps=")[0] or path)
    except (OSError, ValueError):
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def _key(ref: MediaRef) -> str:
    return json.dumps(ref.to_json())


def _written(found: MediaInfo | MediaError) -> tuple[str, bytes | None]:
    if isinstance(found, MediaError):
        return json.dumps({"reason": found.reason, "detail": found.detail}), None
    facts = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    times = _write_times(facts.pop("frame_times"))
    return json.dumps(facts), times


def _write_times(times: Sequence[float]) -> bytes:
    """Frame times without loss: of a constant rate "n × p/q", else all of them, compressed."""
    array = np.array(times, np.float64)
    if len(array) > 1:
        interval = Fraction(float(array[-1]) / (len(array) - 1)).limit_denominator(1_000_000)
        even = EvenTimes(len(array), interval.numerator, interval.denominator)
        if np.array_equal(np.asarray(even), array):
            return f"{even.frames} {even.numerator} {even.denominator}".encode()
    return b"z" + zlib.compress(array.tobytes())


def _read_times(written: bytes) -> Sequence[float]:
    if written.startswith(b"z"):
        return tuple(np.frombuffer(zlib.decompress(written[1:]), np.float64).tolist())
    return EvenTimes(*map(int, written.split()))
