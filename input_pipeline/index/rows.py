"""One example → its row of the index: probe, frame budget, layout."""

import dataclasses
import functools
import json
import threading
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import frame_budget
from input_pipeline.annotations import Rejected
from input_pipeline.examples import Example, MediaRef
from input_pipeline.index.probe_cache import Measured, Probe, ProbeCache, stamp_of
from input_pipeline.index.texts import Text
from input_pipeline.layout import (
    ExampleLayout,
    LayoutError,
    TooLong,
    VisionLayout,
    layout_example,
)
from input_pipeline.media import LASTING, Decoder, MediaError, MediaInfo, cut_clip
from input_pipeline.text import ChatError, ChatTokenizer, EncodedText, Replacement

# Neighbouring examples are often about the same clip. The frame times of an hour take 3 MB.
_REMEMBERED_PROBES = 32
_REMEMBERED_PREVIEWS = 64

_Encode = Callable[[Example, Sequence[Replacement]], EncodedText]


@dataclasses.dataclass(frozen=True)
class IndexSpec:
    """What a prepared index depends on besides the data: tokenizer, layout, limits, policy.

    frame_policy: a frame-budget spec. tools: the models that it needs, if it needs any.
    reasoning: "keep" or "drop" what answers think. row_slices: of rows of max_patches patches; no
    grid may lie on two.

    Raises ValueError naming a frame-budget spec that is wrong, or does not go with the layout.
    """

    tokenizer_dir: str
    layout: VisionLayout
    frame_policy: Mapping[str, Any]
    max_tokens: int
    max_patches: int
    tools: frame_budget.Tools = frame_budget.Tools()
    reasoning: str = "keep"
    row_slices: int = 1

    def __post_init__(self) -> None:
        # Here and not only where the policy is made, in each worker: before any work begins.
        frame_budget.check_multiples(self.frame_policy, self.layout.min_frames)


class Outcome(NamedTuple):
    """row: columns of the index, or why there is none. fresh: what was found out about media and
    was not cached. text: the example as it was read, with what is known of it now; None where that
    could not be told."""

    row: dict[str, Any] | Rejected
    fresh: list[Probe | Measured]
    text: Text | None


class _Counted(NamedTuple):
    """A text whose number of tokens is known."""

    ids: Sized


class RowMaker:
    """Example → row of the index, or the reason why there is none. Safe to share by threads.

    mode: "train" keeps the answer, "prompt" leaves it out. decoder: looks into media. cache: what
    is known of them; what is new comes with the outcome. The tokenizer is read when it is needed.
    """

    def __init__(
        self,
        spec: IndexSpec,
        mode: str,
        decoder: Decoder,
        cache: ProbeCache | None = None,
    ):
        self._spec, self._mode = spec, mode
        self._policy = frame_budget.make_policy(
            spec.frame_policy, spec.tools, frames_at_a_time=spec.layout.min_frames
        )
        self._most_frames = frame_budget.most_frames(spec.frame_policy)
        self._decoder, self._cache = decoder, cache
        self._preview = functools.lru_cache(_REMEMBERED_PREVIEWS)(self._decoded_preview)
        self._remembered: dict[MediaRef, tuple[str | None, MediaInfo | MediaError]] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @functools.cached_property
    def _tokenizer(self) -> ChatTokenizer:
        rules = self._spec.layout
        return ChatTokenizer.load(self._spec.tokenizer_dir, rules.media_tokens, rules.clip_template)

    def _encode(self, example: Example, replacements: Sequence[Replacement]) -> EncodedText:
        with self._loading:  # by one thread
            tokenizer = self._tokenizer
        encode = tokenizer.encode if self._mode == "train" else tokenizer.encode_prompt
        return encode(example, replacements)

    def __call__(self, found: Example | Text) -> Outcome:
        """found: an example, or the text of an earlier outcome under the same tokenizer."""
        fresh: list[Probe | Measured] = []
        stage = "probe"
        if isinstance(found, Text):
            example, text = Example.from_json(found.example), found
        else:
            example = found.without_reasoning() if self._spec.reasoning == "drop" else found
            text = Text(example.to_json(), None)
        words = _Words(self._encode, example, text)
        try:
            media = [self._look(ref, fresh) for ref in example.media]
            stage = "preview"
            row = {"example": text.example, **self._row(example, media, words)}
            fresh += [each.measured for each in media if each.measured]
            return Outcome(row, fresh, words.text)
        except MediaError as error:
            rejected = Rejected(None, example.id, error.reason, error.detail, error.path, stage)
        except LayoutError as error:
            reason = "too_long" if isinstance(error, TooLong) else error.reason
            rejected = Rejected(None, example.id, reason, str(error), None, "layout")
        except ChatError as error:
            rejected = Rejected(None, example.id, "chat_template", str(error), None, "layout")
        return Outcome(rejected, fresh, words.text)

    def _look(self, ref: MediaRef, fresh: list[Probe | Measured]) -> "_Medium":
        """Probes a file once, however many examples and policies ask about it or clips of it."""
        whole = MediaRef(ref.kind, ref.path)
        stamp, info = self._whole(whole, fresh)
        known = functools.partial(self._measured, ref, stamp)
        return _Medium(ref, stamp, cut_clip(info, ref), _Memory(known))

    def _measured(self, ref: MediaRef, stamp: str | None) -> dict[str, Any]:
        return self._cache.measured(ref, stamp) if self._cache and stamp is not None else {}

    def _whole(self, ref: MediaRef, fresh: list[Probe | Measured]) -> tuple[str | None, MediaInfo]:
        """The stamp of a file, and what it is. A stamp stays for as long as it is remembered."""
        with self._lock:
            stamp, found = self._remembered.get(ref, (None, None))
        if found is None:
            stamp = stamp_of(ref.path)
        if found is None and self._cache is not None and stamp is not None:
            found = self._cache.get(ref, stamp)
        if found is None:
            try:
                found = self._decoder.probe(ref)
            except MediaError as error:
                found = error
            if stamp is not None and (isinstance(found, MediaInfo) or found.reason in LASTING):
                fresh.append(Probe(ref, stamp, found))
        with self._lock:
            self._remembered[ref] = stamp, found
            while len(self._remembered) > _REMEMBERED_PROBES:
                del self._remembered[next(iter(self._remembered))]
        if isinstance(found, MediaError):
            raise found
        return stamp, found

    def _row(self, example: Example, media: Sequence["_Medium"], words: "_Words") -> dict[str, Any]:
        """The columns of the index but the example itself."""
        spec = self._spec
        instruction, infos = example.instruction, [medium.info for medium in media]
        queries = [
            frame_budget.BudgetQuery(
                example.id,
                instruction,
                medium.info,
                functools.partial(self._preview, medium.ref, medium.stamp),
                medium.id,
                words.measured,
                medium.memory,
            )
            for medium in media
        ]
        asked = [
            frame_budget.asked_budget(query, ref.fps, ref.nframes, spec.layout.min_frames)
            for query, ref in zip(queries, example.media, strict=True)
        ]
        budgets = [own or self._policy(query) for own, query in zip(asked, queries, strict=True)]

        def lay_out(frames: Sequence[int]) -> ExampleLayout:
            return layout_example(
                spec.layout,
                lambda laid_out: words.replaced([spec.layout.placeholder(m) for m in laid_out]),
                infos,
                frames,
                spec.max_tokens,
                spec.max_patches,
                spec.row_slices,
            )

        frames = [budget.frames for budget in budgets]
        layout = lay_out(frames)
        most = [
            own.frames
            if own
            else frame_budget.frames_within(self._most_frames, info.frames, spec.layout.min_frames)
            for own, info in zip(asked, infos, strict=True)
        ]
        largest = layout if most == frames else lay_out(most)
        clips = [i for i, info in enumerate(infos) if info.kind == "video"]
        shown = [len(layout.media[i].frame_indices) for i in clips]
        return {
            "id": example.id,
            "source": example.source,
            "layout": layout.to_json(),
            "tokens": layout.tokens,
            "patches": layout.patches,
            "largest_grid": layout.largest_grid,
            "visual_tokens": sum(medium.tokens for medium in layout.media),
            "most_visual_tokens": sum(medium.tokens for medium in largest.media),
            "frames": max(shown, default=0),
            "clip_frames": [infos[i].frames for i in clips],
            "clip_budgets": shown,
            "why": "; ".join(budgets[i].reduced(n).why for i, n in zip(clips, shown, strict=True)),
            "shrunk": layout.shrunk,
        }

    def _decoded_preview(
        self, ref: MediaRef, stamp: str | None, count: int, side: int = frame_budget.PREVIEW_PIXELS
    ) -> np.ndarray:
        """uint8[F, h, w, 3]: at most `count` small frames of a clip, spread over its length."""
        return self._decoder.preview(ref, count, side)


class _Medium(NamedTuple):
    """A medium of an example, the state of its file, and what was probed and measured of it."""

    ref: MediaRef
    stamp: str | None
    info: MediaInfo
    memory: "_Memory"

    @property
    def id(self) -> str:
        """Which clip of which file in which state; "" where that cannot be told."""
        return "" if self.stamp is None else json.dumps([self.ref.to_json(), self.stamp])

    @property
    def measured(self) -> Measured | None:
        """What is to be kept of it."""
        if self.stamp is None or not self.memory.grown:
            return None
        return Measured(self.ref, self.stamp, dict(self.memory))


class _Memory(dict[str, Any]):
    """What policies measured of a medium; what is known from before is looked up when the first of
    them asks. grown: whether they added to it."""

    def __init__(self, known: Callable[[], Mapping[str, Any]]):
        super().__init__()
        self._known: Callable[[], Mapping[str, Any]] | None = known
        self.grown = False

    def __missing__(self, name: str) -> Any:
        if self._known is None:
            raise KeyError(name)
        self.update(self._known())
        self._known = None
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.grown = True


class _Words:
    """The text of an example in tokens, encoded once however many layouts ask for it.

    text: as it is known from before. measured: by frame policies.
    """

    def __init__(self, encode: _Encode, example: Example, text: Text):
        self._encode, self._example, self._text = encode, example, text
        self._counts: dict[tuple[Replacement, ...], int] = {}
        if text.tokens is not None:
            self._counts[()] = text.tokens
        self._known: dict[str, Any] = json.loads(text.measured)
        self.measured = dict(self._known)

    @property
    def text(self) -> Text:
        """The text with what is known of it now."""
        if self._text.tokens is not None and self.measured == self._known:
            return self._text
        return Text(self._text.example, self._counts.get(()), json.dumps(self.measured))

    def replaced(self, replacements: Sequence[Replacement]) -> _Counted:
        """The text with these in place of its placeholders. Raises ChatError."""
        key = tuple(replacements) if any(replacements) else ()
        if key not in self._counts:
            self._counts[key] = len(self._encode(self._example, key).ids)
        return _Counted(range(self._counts[key]))
