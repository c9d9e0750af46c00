"""The predict job: one prompt about any media."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.frame_budget import spec_label
from input_pipeline.index import lay_out
from input_pipeline.media import kind_of_file
from vsft_jax.config import Run
from vsft_jax.inference import answer, load_model
from vsft_jax.prepare import frame_tools, resolve_frame_policy
from vsft_jax.sharding import batch_shards


def predict(run: Run, prompt: str, media: Sequence[str]) -> dict[str, Any]:
    """Answers one question about any media with the workdir's newest checkpoint, or without one
    the model of `config.model.path`.

    The frame budget is the checkpoint's policy, or else the config's, applied to this prompt.
    Returns JSON values: text, token_ids, token_logprobs, and for each medium its frame budget with
    the reason, the timestamps in seconds and the visual tokens. Raises UserError naming what
    cannot be used.
    """
    model = load_model(run)
    frame_policy = model.frame_policy or resolve_frame_policy(run)
    parts = tuple(MediaRef(kind_of_file(path), str(Path(path).absolute())) for path in media)
    example = Example("predict", "predict", (Turn("user", (*parts, prompt)),))
    spec = run.index_spec(frame_policy, frame_tools(run, frame_policy))
    store = lay_out([example], spec, mode="prompt")
    # No more rows than the devices ask for.
    alone = run.with_settings(eval={"batch_rows": batch_shards(model.mesh)})
    (said,) = answer(alone, model, store)
    if said.failure:
        raise UserError(f"{said.failure['path']}: {said.failure['detail']}")
    layout = store[0][1]
    return {
        "text": said.text,
        "token_ids": said.token_ids,
        "token_logprobs": said.logprobs,
        "frame_policy": spec_label(frame_policy),
        "frame_budget": store.why(0),
        "timestamps": [list(m.frame_times) for m in layout.media if m.kind == "video"],
        "visual_tokens": sum(m.tokens for m in layout.media),
    }
