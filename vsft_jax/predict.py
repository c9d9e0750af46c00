"""The predict and chat jobs: prompts about any media."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.annotations import place_media
from input_pipeline.errors import UserError
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.frame_budget import spec_label
from input_pipeline.index import ExampleStore, IndexSpec, lay_out
from input_pipeline.layout import ExampleLayout
from input_pipeline.media import kind_of_file
from input_pipeline.paths import located
from vsft_jax.config import Run
from vsft_jax.inference import Answer, LoadedModel, answer, load_model
from vsft_jax.prepare import frame_tools, resolve_frame_policy
from vsft_jax.sharding import batch_shards


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt and its images and videos: paths, absolute or from the current folder, or addresses.
    They come before the prompt, or in the place of its <image> and <video> tags. id: what its
    answer is found by."""

    prompt: str
    media: Sequence[str] = ()
    id: str = "predict"


def predict(run: Run, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Answers to questions, in their order, by the workdir's newest checkpoint or without one by
    the model of `config.model.path`.

    The frame budget is the checkpoint's policy, or else the config's, applied to each prompt. An
    answer is made of JSON values: id, text, token_ids, token_logprobs, the frame policy and the
    budget with its reason, timestamps in seconds of each video, the visual tokens,
    and what had to shrink to fit into a row: "", "pixels" or "frames".

    Raises UserError naming what cannot be used, before the model is loaded for what is no medium.
    """
    examples = [_example(question) for question in questions]
    model = load_model(run)
    spec = prompt_spec(run, model)
    store = lay_out(examples, spec, mode="prompt")
    answers = answer(_with_rows(run, model, len(questions)), model, store)
    said = {each.index: each for each in answers}
    label = spec_label(spec.frame_policy)
    return [_said(store, said[i]) | {"frame_policy": label} for i in range(len(questions))]


class Chat:
    """A conversation about media: which frames are shown, and at what size, is decided with the
    first question and stays. Every question is asked with all that was said before.

    media: as in `Question`. why: the frame budget's reason, "" before the first question and where
    there is no video. Makes and raises what `predict` does.
    """

    def __init__(self, run: Run, media: Sequence[str]):
        self._media = _media(media)
        self._model = load_model(run)
        self._run = _with_rows(run, self._model, 1)
        self._turns: tuple[Turn, ...] = ()
        self._layout: ExampleLayout | None = None
        self.why = ""

    def ask(self, question: str) -> str:
        """The answer. Raises UserError for a question that cannot be asked, or no longer fits into
        a row; it is then no part of the conversation."""
        asked = Turn("user", place_media(question, () if self._turns else self._media))
        example = Example("chat", "chat", (*self._turns, asked))
        layout = self._laid_out(example)
        (said,) = answer(self._run, self._model, [(example, layout)])
        _check(said)
        self._layout = layout
        self._turns = (*example.turns, Turn("assistant", (said.text,)))
        return said.text

    def _laid_out(self, example: Example) -> ExampleLayout:
        row = self._run.row_shape.tokens
        if self._layout is None:
            # Media may take a whole row; a part is kept for what will be said about them.
            room = dataclasses.replace(
                prompt_spec(self._run, self._model), max_tokens=row - row // 4
            )
            store = lay_out([example], room, mode="prompt")
            self.why = store.why(0)
            return store[0][1]
        media = self._layout.media
        placeholders = [self._run.layout.placeholder(medium) for medium in media]
        words = len(self._model.tokenizer.encode_prompt(example, placeholders).ids)
        tokens = words + sum(medium.tokens - medium.placeholders for medium in media)
        if tokens > row:
            raise UserError(
                f"the conversation now has {tokens} tokens, more than config.layout.row_tokens = "
                f"{row}: begin a new one, or ask something shorter"
            )
        return dataclasses.replace(self._layout, tokens=tokens)


def prompt_spec(run: Run, model: LoadedModel) -> IndexSpec:
    """How prompts are laid out: under the model's frame policy, or else the config's."""
    frame_policy = model.frame_policy or resolve_frame_policy(run)
    return run.index_spec(frame_policy, frame_tools(run, frame_policy))


def _with_rows(run: Run, model: LoadedModel, questions: int) -> Run:
    """No more rows at a time than there are questions, and as many as the devices ask for."""
    shards = batch_shards(model.mesh)
    rows = min(run.config.eval.batch_rows, -(-questions // shards) * shards)
    return run.with_settings(eval={"batch_rows": max(rows, shards)})


def read_questions(path: str | Path) -> list[Question]:
    """Questions of a JSONL file, {"prompt": …, "media": [paths], "id": …} on each line.

    media and id may be missing: there is then none, and the line's number. Relative paths start at
    the file's folder. Raises UserError naming file, line and what is wrong.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts={path} cannot be read: {error}") from error
    root = Path(path).absolute().parent
    found = [
        _question(line, f"{path}, line {number}", str(number), root)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise UserError(f"--prompts={path} holds no question: one JSON object a line")
    (name, count), *_ = collections.Counter(question.id for question in found).most_common(1)
    if count > 1:
        raise UserError(f"{path}: the id {name!r} stands there {count} times")
    return found


def _question(line: str, where: str, number: str, root: Path) -> Question:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, Mapping) or not isinstance(record.get("prompt"), str):
        raise UserError(
            f'{where}: wanted {{"prompt": "…", "media": ["clip.mp4"]}}, found {line[:80]}'
        )
    if unknown := sorted(record.keys() - {"prompt", "media", "id"}):
        raise UserError(f"{where}: {', '.join(unknown)}: keys are prompt, media and id")
    media = record.get("media", [])
    media = [media] if isinstance(media, str) else media
    if not isinstance(media, list) or not all(isinstance(each, str) for each in media):
        raise UserError(f"{where}: media = {media!r}: wanted a list of paths")
    paths = [located(each, root) for each in media]
    return Question(record["prompt"], paths, str(record.get("id", number)))


def _example(question: Question) -> Example:
    turn = Turn("user", place_media(question.prompt, _media(question.media)))
    return Example(question.id, "predict", (turn,))


def _media(named: Sequence[str]) -> list[MediaRef]:
    paths = [located(path, Path.cwd()) for path in named]
    return [MediaRef(kind_of_file(path), path) for path in paths]


def _check(said: Answer) -> None:
    if said.failure:
        raise UserError(f"{said.failure['path']}: {said.failure['detail']}")


def _said(store: ExampleStore, said: Answer) -> dict[str, Any]:
    _check(said)
    example, layout = store[said.index]
    return {
        "id": example.id,
        "text": said.text,
        "token_ids": said.token_ids,
        "token_logprobs": said.logprobs,
        **what_was_shown(layout, store.why(said.index)),
    }


def what_was_shown(layout: ExampleLayout, why: str) -> dict[str, Any]:
    """What was seen of a prompt's media, as JSON values; see `predict`. why: the frame budget's
    reason."""
    return {
        "frame_budget": why,
        "timestamps": [list(m.frame_times) for m in layout.media if m.kind == "video"],
        "visual_tokens": sum(m.tokens for m in layout.media),
        "shrunk": layout.shrunk,
    }
