"""Conversations to answers: laid out one by one, generated a batch at a time, by the path that
evaluation takes."""

import dataclasses
import functools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

from input_pipeline.annotations import Rejected
from input_pipeline.examples import Example
from input_pipeline.frame_budget import spec_label
from input_pipeline.index import ExampleStore, RowMaker
from input_pipeline.layout import ExampleLayout
from vsft_jax.config import Run, evaluation_row_problems, refuse
from vsft_jax.inference import Piece, answer_stepwise, for_decoding, load_model
from vsft_jax.predict import prompt_spec
from vsft_jax.serve.errors import RequestError
from vsft_jax.serve.media import shown
from vsft_jax.serve.requests import MOST_LIKELIEST, ChatRequest
from vsft_jax.sharding import batch_shards

_SOURCE = "chat"
_FEWEST_TOKENS = 16  # of the room for an answer; from there it doubles


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A request that can be answered. why: the reason of the frame budget."""

    request: ChatRequest
    example: Example
    layout: ExampleLayout
    why: str


class Decoded(NamedTuple):
    """What a batch's prompts have in common: the settings that generation is compiled for.

    max_new_tokens: room for an answer, which is cut to what the request asks for.
    """

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    likeliest: int


class Engine:
    """The model of a run, ready to answer. `lay_out` may be called by several threads at a time,
    `answer` by one.

    name: what clients call the model. frame_policy: the label of what decides how many frames a
    video gets: the checkpoint's policy, or else the config's. step: of the checkpoint.
    Raises what `predict` does, and ConfigError where `config.eval.batch_rows` is no multiple of the
    devices.
    """

    def __init__(self, run: Run):
        model = load_model(run)
        with jax.set_mesh(model.mesh):
            params = for_decoding(model.graphdef, model.params)
        self._model = dataclasses.replace(model, params=params)
        refuse(evaluation_row_problems(run, batch_shards(self._model.mesh)))
        spec = prompt_spec(run, self._model)
        self._make_row = RowMaker(spec, "prompt", run.decoder)
        self._run = run
        self._with = functools.lru_cache(maxsize=64)(self._with_settings)
        self.tokenizer = self._model.tokenizer
        self.name = run.config.serve.name or self._model.source.name
        self.frame_policy = spec_label(spec.frame_policy)
        self.step = self._model.step

    def lay_out(self, request: ChatRequest) -> Prompt:
        """Probes the media, decides their frames and sizes. Raises RequestError for what cannot be
        used or does not fit."""
        found = self._make_row(Example(request.digest, _SOURCE, request.turns)).row
        if isinstance(found, Rejected):
            raise _unusable(request, found.path, found.reason, found.detail)
        store = ExampleStore.of_rows([found])
        example, layout = store[0]
        # What is drawn follows from the id.
        drawn = uuid.uuid4().hex if request.seed is None else f"{request.digest}-{request.seed}"
        return Prompt(request, dataclasses.replace(example, id=drawn), layout, store.why(0))

    def decoded(self, prompt: Prompt) -> Decoded:
        """Prompts for which this is the same can be answered together."""
        request = prompt.request
        most = self._run.config.serve.max_tokens
        room = max(_FEWEST_TOKENS, 1 << (request.max_tokens - 1).bit_length())
        told = min(MOST_LIKELIEST, self.tokenizer.vocab_size) if request.likeliest else 0
        top_k = self._run.config.eval.top_k if request.temperature else 0
        return Decoded(request.temperature, request.top_p, top_k, min(room, most), told)

    def answer(
        self, prompts: Sequence[Prompt], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Piece | RequestError]]:
        """What the model says to each prompt, token by token, with the prompt's place among these;
        or why its media could not be decoded. Ends early when none of those that have not ended is
        wanted any more. The prompts are as many as `most` says at most, and alike by `decoded`."""
        settings = self.decoded(prompts[0])
        run = self._with(settings, self._rows(len(prompts)))
        laid_out = [(prompt.example, prompt.layout) for prompt in prompts]
        begun = set(range(len(prompts)))
        for piece in answer_stepwise(run, self._model, laid_out, likeliest=settings.likeliest):
            if failure := piece.failure:
                request = prompts[piece.index].request
                why = failure["path"], failure["reason"], failure["detail"]
                yield piece.index, _unusable(request, *why)
            else:
                yield piece.index, piece
            if piece.token_id is None:
                begun.discard(piece.index)
            if not any(map(wanted, begun)):
                return

    @property
    def most(self) -> int:
        """Prompts in a batch."""
        return self._run.config.eval.batch_rows

    def close(self) -> None:
        """Ends the decoder's processes."""
        self._run.decoder.close()

    def _rows(self, prompts: int) -> int:
        """Few sizes of batches, since each is compiled: 1, 2, 4, … rows a device."""
        shards = batch_shards(self._model.mesh)
        each = 1 << (-(-prompts // shards) - 1).bit_length()
        return min(each * shards, self.most)

    def _with_settings(self, settings: Decoded, rows: int) -> Run:
        values = settings._asdict()
        del values["likeliest"]
        return self._run.with_settings(eval={**values, "batch_rows": rows})


def _unusable(request: ChatRequest, path: str | None, reason: str, detail: str) -> RequestError:
    """Of media, under the name that the client gave; this machine's paths are none of its
    business."""
    for place, url in request.media.items():
        detail = detail.replace(place, shown(url))
    about = f"{shown(request.media[path])}: " if path and path in request.media else ""
    return RequestError(f"{about}{reason}: {detail}", param="messages", code=reason)
