"""A Hugging Face model of one of our families as the judge of frame budgets."""

import functools
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.frame_budget import ModelError, Refused
from input_pipeline.index import lay_out
from vsft_jax import inference
from vsft_jax.config import Run
from vsft_jax.huggingface import HFError, local_directory, model_fingerprint, read_json
from vsft_jax.models import FAMILIES, family_named

_ROW_TOKENS, _ROW_PATCHES = 32768, 131072  # bounds; rows are as long as a question needs


class JudgeModel:
    """An `Ask`: sees the frames as a short clip and answers greedily, one question at a time."""

    def __init__(self, spec: Mapping[str, Any], run: Run):
        """run: gives mesh and precision. Raises ModelError for a directory that does not hold a
        model of a known family, and in a run of several processes."""
        if jax.process_count() > 1:
            raise ModelError(
                "frame budget: a judge with a 'path' answers in a run of one process only: prepare "
                "on one machine first (--job=prepare with the same config.data.index_dir), or "
                "serve the model and give its 'url'"
            )
        self._lock = threading.Lock()
        try:
            directory = local_directory(spec["path"])
            config = _judge_config(run.config, directory, spec["max_tokens"])
        except HFError as error:
            raise ModelError(f"frame budget: the judge's 'path': {error}") from error
        # A workdir that is not there: no checkpoint takes the place of the judge's weights.
        self._run = Run(config, run.index_dir / "judge")
        self.identity = f"{model_fingerprint(directory)} {spec['max_tokens']}"

    @functools.cached_property
    def _model(self) -> inference.LoadedModel:
        """Loaded under the lock, at the first question."""
        try:
            return inference.load_model(self._run)
        except ValueError as error:
            raise ModelError(f"frame budget: the judge's 'path': {error}") from error

    def __call__(self, prompt: str, frames: np.ndarray, seconds: float) -> str:
        """See `Ask`."""
        with self._lock, tempfile.TemporaryDirectory() as folder:
            for i, frame in enumerate(frames):
                cv2.imwrite(f"{folder}/{i:04d}.png", np.ascontiguousarray(frame[..., ::-1]))
            clip = MediaRef("video", f"{folder}?fps={len(frames) / max(seconds, 0.1):.6f}")
            example = Example("judge", "judge", (Turn("user", (clip, prompt)),))
            at_a_time = self._run.layout.min_frames
            shown = max(len(frames) - len(frames) % at_a_time, at_a_time)
            spec = self._run.index_spec({"kind": "fixed", "frames": shown})
            try:
                store = lay_out([example], spec, mode="prompt")
            except ValueError as error:
                raise Refused(str(error)) from error
            (said,) = inference.answer(self._run, self._model, store)
            if said.failure:
                raise Refused(said.failure["detail"])
            return said.text


def _judge_config(config: ConfigDict, directory: Path, max_tokens: int) -> ConfigDict:
    """The run's config with another model in it. Raises HFError."""
    found = ConfigDict(config.to_dict())
    found.model.update(family=_family_of(directory), path=str(directory), size="")
    found.model.vision, found.model.text = ConfigDict(), ConfigDict()
    found.model.param_dtype = found.model.dtype
    found.tokenizer = ""
    found.lora.rank = 0
    found.layout = ConfigDict({"row_tokens": _ROW_TOKENS, "row_patches": _ROW_PATCHES})
    # One question at a time: all devices work on its one row.
    found.mesh.update(data=1, fsdp=1, tensor=-1, context=1)
    found.eval.update(batch_rows=1, max_new_tokens=max_tokens, temperature=0.0, top_p=1.0, top_k=0)
    return found


def _family_of(directory: Path) -> str:
    """The family that reads a directory's config.json. Raises HFError where none does."""
    stored, reasons = read_json(directory / "config.json"), []
    for name in FAMILIES:
        try:
            family_named(name).from_hf(stored)
            return name
        except (ValueError, KeyError) as error:
            reasons.append(f"{name}: {error}")
    raise HFError(f"{directory}: not a model of {FAMILIES}: " + "; ".join(reasons))
