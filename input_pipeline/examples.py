"""The one record that training and evaluation both start from: an `Example`.

Every annotation format is read into these three dataclasses and nothing downstream knows
which format it came from.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*(?=\S)", re.DOTALL)

MediaKind = Literal["image", "video"]
# What a benchmark's questions show; a held text is not asked about, but how likely it is found.
Modality = Literal["image", "video", "text", "held_text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Role = Literal["system", "user", "assistant"]


@dataclasses.dataclass(frozen=True)
class MediaRef:
    """One image, one video, or a clip of a video that an example refers to.

    path: where it is, already checked to lie under the data set's media root; one of
        an absolute path of a file;
        for a video, an absolute path of a folder with its frames in the natural order of their
            file names, at 1 frame a second or as "<folder>?fps=<frames a second>" says;
        "frames:[[<file>, …], [<seconds>, …]]": a video as a list of pictures, each with a path of
            these forms, and their times; see `paths.frame_list`;
        "<archive>::<member>": a file, or for a video a folder of frames, inside a zip or tar; see
            `media.archives`;
        "gs://…", "s3://…" and the like: a remote file, read through fsspec;
        "record:<absolute path>#<row>/<column>": bytes inside row `row` (from 0) of a Parquet file
            or a split of a TFDS data set, under the field `column`; see `records.reference`.
    start_s, end_s: a clip of a video: the frames whose time t, in seconds from the first frame of
        the whole video, has start_s <= t <= end_s; None: from its beginning, to its end. The
        frame indices and frame times of a clip count from the clip's first frame.
    fps, nframes: how many frames a second of a video, or how many, are to be shown, in place of
        what the frame policy says. An fps that is the file's own rate asks for nothing.
    min_pixels, max_pixels: height × width of a picture or frame, in place of the layout's limits.
    """

    kind: MediaKind
    path: str
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    nframes: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None

    @property
    def asks(self) -> bool:
        """Whether it has a number of its own for what the frame policy or the layout says."""
        return any((self.fps, self.nframes, self.min_pixels, self.max_pixels))

    def to_json(self) -> list[str | float | None]:
        """A JSON list without what is left at its default; `MediaRef(*list)` reads it back."""
        fields: list[str | float | None] = [self.kind, self.path, self.start_s, self.end_s]
        if self.asks:
            return [*fields, self.fps, self.nframes, self.min_pixels, self.max_pixels]
        return fields[:2] if self.start_s is None and self.end_s is None else fields


@dataclasses.dataclass(frozen=True)
class Turn:
    """One message of a conversation: text pieces and media in reading order.

    reasoning: what an answer thinks before its text, where the annotation keeps the two apart.
    """

    role: Role
    parts: tuple[str | MediaRef, ...]
    reasoning: str = ""

    @property
    def text(self) -> str:
        """The turn's words alone, media left out."""
        return "".join(part for part in self.parts if isinstance(part, str)).strip()


@dataclasses.dataclass(frozen=True)
class Example:
    """One conversation over any number of images and videos.

    id:     unique within `source`.
    source: name of the data set in the config.
    turns:  at least one user turn; training examples end with an assistant turn, and for
            evaluation that last turn is the reference answer and is not shown to the model.
    meta:   whatever else the annotation carries (task, answer format, ...), JSON values only.
    """

    id: str
    source: str
    turns: tuple[Turn, ...]
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def media(self) -> tuple[MediaRef, ...]:
        """All media of the conversation in reading order."""
        return tuple(p for turn in self.turns for p in turn.parts if isinstance(p, MediaRef))

    @property
    def words(self) -> str:
        """What the user says, over all turns, media left out."""
        return "\n".join(turn.text for turn in self.turns if turn.role == "user")

    @property
    def instruction(self) -> str:
        """What the user asks for: the text that a frame budget is decided from. The record's
        "frame_question", where it has one because its words say more than the question."""
        return self.meta.get("frame_question") or self.words

    def prompt(self) -> "Example":
        """The example without its final assistant turn: what a model sees in evaluation."""
        turns = self.turns[:-1] if self.turns[-1].role == "assistant" else self.turns
        return dataclasses.replace(self, turns=turns)

    def without_reasoning(self) -> "Example":
        """The example without what answers think, where that is kept apart or stands in their text
        as <think>…</think> before other words."""
        turns = (
            Turn(
                turn.role,
                tuple(_THOUGHT.sub("", p) if isinstance(p, str) else p for p in turn.parts),
            )
            if turn.role == "assistant"
            else turn
            for turn in self.turns
        )
        return dataclasses.replace(self, turns=tuple(turns))

    def to_json(self) -> str:
        """A compact JSON string that `from_json` reads back to an equal example."""
        turns = [
            {
                "role": turn.role,
                "parts": [p if isinstance(p, str) else p.to_json() for p in turn.parts],
                **({"reasoning": turn.reasoning} if turn.reasoning else {}),
            }
            for turn in self.turns
        ]
        record = {"id": self.id, "source": self.source, "turns": turns, "meta": dict(self.meta)}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Example":
        """Inverse of `to_json`."""
        record = json.loads(text)
        turns = tuple(
            Turn(
                role=turn["role"],
                parts=tuple(p if isinstance(p, str) else MediaRef(*p) for p in turn["parts"]),
                reasoning=turn.get("reasoning", ""),
            )
            for turn in record["turns"]
        )
        return cls(record["id"], record["source"], turns, record["meta"])
