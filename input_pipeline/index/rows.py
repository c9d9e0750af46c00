"""One example → its row of the index: probe, frame budget, layout."""

import dataclasses
import functools
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import frame_budget
from input_pipeline.annotations import Rejected
from input_pipeline.examples import Example, MediaRef
from input_pipeline.index.probe_cache import Probe, ProbeCache, stamp_of
from input_pipeline.layout import (
    ExampleLayout,
    LayoutError,
    TooLong,
    VisionLayout,
    layout_example,
)
from input_pipeline.media import LASTING, Decoder, MediaError, MediaInfo, cut_clip
from input_pipeline.text import ChatError, ChatTokenizer

# Neighbouring examples are often about the same clip. The frame times of an hour take 3 MB.
_REMEMBERED_PROBES = 32
_REMEMBERED_PREVIEWS = 64


@dataclasses.dataclass(frozen=True)
class IndexSpec:
    """What a prepared index depends on besides the data: tokenizer, layout, limits, policy.

    frame_policy: a frame-budget spec. tools: the models that it needs, if it needs any.
    reasoning: "keep" or "drop" what answers think.

    Raises ValueError naming a frame-budget spec that is wrong, or does not go with the layout.
    """

    tokenizer_dir: str
    layout: VisionLayout
    frame_policy: Mapping[str, Any]
    max_tokens: int
    max_patches: int
    tools: frame_budget.Tools = frame_budget.Tools()
    reasoning: str = "keep"

    def __post_init__(self) -> None:
        # Here and not only where the policy is made, in each worker: before any work begins.
        frame_budget.check_multiples(self.frame_policy, self.layout.min_frames)


class Outcome(NamedTuple):
    """row: columns of the index, or why there is none. probes: those that were not cached."""

    row: dict[str, Any] | Rejected
    probes: list[Probe]


class RowMaker:
    """Example → row of the index, or the reason why there is none. Safe to share by threads.

    mode: "train" keeps the answer, "prompt" leaves it out. decoder: looks into media. cache: probes
    that are known; new ones come with the outcome.
    """

    def __init__(
        self,
        spec: IndexSpec,
        mode: str,
        decoder: Decoder,
        cache: ProbeCache | None = None,
    ):
        self._spec = spec
        tokenizer = ChatTokenizer.load(spec.tokenizer_dir, spec.layout.media_tokens)
        self._encode = tokenizer.encode if mode == "train" else tokenizer.encode_prompt
        self._policy = frame_budget.make_policy(
            spec.frame_policy, spec.tools, frames_at_a_time=spec.layout.min_frames
        )
        self._most_frames = frame_budget.most_frames(spec.frame_policy)
        self._decoder, self._cache = decoder, cache
        self._preview = functools.lru_cache(_REMEMBERED_PREVIEWS)(self._decoded_preview)
        self._remembered: dict[tuple[MediaRef, str | None], MediaInfo | MediaError] = {}
        self._lock = threading.Lock()

    def __call__(self, example: Example) -> Outcome:
        probes: list[Probe] = []
        stage = "probe"
        if self._spec.reasoning == "drop":
            example = example.without_reasoning()
        try:
            infos = [self._info(ref, probes) for ref in example.media]
            stage = "preview"
            return Outcome(self._row(example, infos), probes)
        except MediaError as error:
            rejected = Rejected(None, example.id, error.reason, error.detail, error.path, stage)
        except LayoutError as error:
            reason = "too_long" if isinstance(error, TooLong) else error.reason
            rejected = Rejected(None, example.id, reason, str(error), None, "layout")
        except ChatError as error:
            rejected = Rejected(None, example.id, "chat_template", str(error), None, "layout")
        return Outcome(rejected, probes)

    def _info(self, ref: MediaRef, probes: list[Probe]) -> MediaInfo:
        """Probes a file once, however many examples and policies ask about it or clips of it."""
        whole = MediaRef(ref.kind, ref.path)
        return cut_clip(self._whole(whole, probes), ref)

    def _whole(self, ref: MediaRef, probes: list[Probe]) -> MediaInfo:
        stamp = stamp_of(ref.path)
        with self._lock:
            found = self._remembered.get((ref, stamp))
        if found is None and self._cache and stamp is not None:
            found = self._cache.get(ref, stamp)
        if found is None:
            try:
                found = self._decoder.probe(ref)
            except MediaError as error:
                found = error
            if stamp is not None and (isinstance(found, MediaInfo) or found.reason in LASTING):
                probes.append(Probe(ref, stamp, found))
        with self._lock:
            self._remembered[ref, stamp] = found
            while len(self._remembered) > _REMEMBERED_PROBES:
                del self._remembered[next(iter(self._remembered))]
        if isinstance(found, MediaError):
            raise found
        return found

    def _row(self, example: Example, infos: Sequence[MediaInfo]) -> dict[str, Any]:
        spec = self._spec
        queries = [
            frame_budget.BudgetQuery(
                example.id,
                example.instruction,
                info,
                functools.partial(self._preview, ref, stamp_of(ref.path)),
                _media_id(ref),
            )
            for ref, info in zip(example.media, infos, strict=True)
        ]
        asked = [
            frame_budget.asked_budget(query, ref.fps, ref.nframes, spec.layout.min_frames)
            for query, ref in zip(queries, example.media, strict=True)
        ]
        budgets = [own or self._policy(query) for own, query in zip(asked, queries, strict=True)]

        def lay_out(frames: Sequence[int]) -> ExampleLayout:
            return layout_example(
                spec.layout,
                lambda media: self._encode(example, [spec.layout.placeholder(m) for m in media]),
                infos,
                frames,
                spec.max_tokens,
                spec.max_patches,
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
            "example": example.to_json(),
            "layout": layout.to_json(),
            "tokens": layout.tokens,
            "patches": layout.patches,
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


def _media_id(ref: MediaRef) -> str:
    """Which clip of which file in which state; "" where that cannot be told."""
    stamp = stamp_of(ref.path)
    return "" if stamp is None else json.dumps([ref.to_json(), stamp])
