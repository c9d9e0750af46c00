"""What policies may need besides their spec: models, and a place to keep what models said.

This package knows no model. Whoever builds a policy passes in how to get one, as functions of the
policy's spec; vsft_jax/frame_models/dino.py has those of this project.
"""

import dataclasses
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from input_pipeline.errors import UserError

_FILE = "model_answers.sqlite"
_WAIT_SECONDS = 60.0  # for another process that is writing


class ModelError(UserError, RuntimeError):
    """A policy's model cannot be used or does not answer: preparing has to stop.

    What was answered before is kept, so preparing again goes on from there.
    """


class Refused(UserError, RuntimeError):
    """A model would not answer this one question; others may be fine."""


class Embed(Protocol):
    """A picture encoder."""

    @property
    def identity(self) -> str:
        """Which weights: answers are kept under it."""
        ...

    @property
    def side(self) -> int:
        """Pixels of the longer side of the frames that it wants."""
        ...

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8[F, h, w, 3] -> float[F, D], one vector a frame."""
        ...


class Ask(Protocol):
    """A model that answers a question about frames in words. Called from several threads."""

    @property
    def identity(self) -> str:
        """Which model, and how it is asked: answers are kept under it."""
        ...

    def __call__(self, prompt: str, frames: np.ndarray, seconds: float) -> str:
        """frames: uint8[F, h, w, 3] spread over a clip of `seconds`.

        Raises ModelError, and Refused for this question alone.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Tools:
    """Where policies get what their spec only names.

    embed: a "similarity" spec with features "dinov2" -> its encoder. ask: a "judge" spec with a
    "path" -> its model. Both are called once for each policy. folder: where answers are kept on
    disk; None keeps them in memory.
    """

    embed: Callable[[Mapping[str, Any]], Embed] | None = None
    ask: Callable[[Mapping[str, Any]], Ask] | None = None
    folder: Path | None = None

    def answers(self) -> "Answers":
        """The answers that are kept."""
        if self.folder is None:
            return Answers(":memory:")
        self.folder.mkdir(parents=True, exist_ok=True)
        return Answers(self.folder / _FILE)


class Answers:
    """What models said, by question; safe to share by threads, and by processes where on disk."""

    def __init__(self, path: Path | str):
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, check_same_thread=False)
        with self._lock, self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT) "
                "WITHOUT ROWID"
            )

    def get(self, question: str) -> str | None:
        """The answer to a question (see `question_key`), None where there is none yet."""
        with self._lock:
            row = self._database.execute(
                "SELECT answer FROM answers WHERE question = ?", [question]
            ).fetchone()
        return row and row[0]

    def put(self, question: str, answer: str) -> None:
        """Keeps an answer, at once."""
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)", [question, answer]
            )


def question_key(*facts: Any) -> str:
    """A digest of JSON values: what an answer depends on."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def content_key(frames: np.ndarray) -> str:
    """A digest of pictures."""
    return hashlib.sha256(f"{frames.shape}".encode() + frames.tobytes()).hexdigest()
