"""A model ready to be used: a checkpoint's, or an imported one."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from input_pipeline.text import ChatTokenizer
from vsft_jax import lora
from vsft_jax.checkpoints import Checkpoints, home
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import load_params
from vsft_jax.inference.interpolate import interpolated
from vsft_jax.lora import Lora, ModelBuilder
from vsft_jax.sharding import abstract_model, make_mesh, rows_only


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Parameters with all that is needed to use them.

    frame_policy: the resolved frame-budget spec it was trained with; None for a model that was
        imported, whose step is 0, unless it is an export of ours.
    trained_config: the training config. source: workdir or Hugging Face directory.
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    mesh: Mesh
    tokenizer: ChatTokenizer
    frame_policy: dict[str, Any] | None
    step: int
    trained_config: dict[str, Any]
    source: Path


def load_model(run: Run) -> LoadedModel:
    """The newest checkpoint of a run's workdir, on the config's mesh; where the workdir has none,
    the model of `config.model.path`. A checkpoint's adapters are as it was trained with, at
    `config.lora.eval_scale`, or it is between the start and the tuned model as
    `config.remedy.interpolate` says.

    Raises CheckpointError when there is neither or the checkpoint is damaged, holds values that are
    not finite or does not fit `config.model`, ConfigError when `config.lora` is for other adapters,
    HFError when the directory cannot be used.
    """
    checkpoints = _checkpoints(run)
    family, model_config = run.family, run.model_config
    mesh = rows_only(make_mesh(run.config.mesh))
    with jax.set_mesh(mesh):
        meta: dict[str, Any] | None = checkpoints.meta() if checkpoints else None
        build = ModelBuilder(family, model_config, _adapters(run, meta))
        rules = lora.partition_rules(family.partition_rules())
        graphdef, shapes = abstract_model(build, rules, mesh)
        if checkpoints:
            source = run.workdir
            params = checkpoints.restore_params(shapes)
            checkpoints.close()
            params = interpolated(run, params, shapes, meta or {})
        else:
            source = run.model_directory or run.workdir
            params = load_params(family, model_config, source, shapes)
        facts = meta or {"frames": run.exported_frames, "step": 0, "config": run.as_json}
        graphdef = lora.for_evaluation(run.config, graphdef, params)
    return LoadedModel(
        graphdef=graphdef,
        params=params,
        mesh=mesh,
        tokenizer=run.tokenizer,
        frame_policy=facts["frames"],
        step=facts["step"],
        trained_config=facts["config"],
        source=source,
    )


def _adapters(run: Run, meta: dict[str, Any] | None) -> Lora | None:
    """The adapters of a checkpoint with this `meta`, if there is one."""
    saved = Lora.of_checkpoint(meta) if meta else None
    if meta and run.lora and run.lora != saved:
        raise ConfigError(
            f"config.lora gives {run.lora}, but {run.workdir} was trained with {saved}; "
            "config.lora.rank = 0 takes the checkpoint's"
        )
    return saved


def _checkpoints(run: Run) -> Checkpoints | None:
    """The workdir's checkpoints; None where it has none but there is a model to import."""
    if not run.config.model.path or home(run.workdir).is_dir():
        verify = run.config.train.verify_checkpoints
        checkpoints = Checkpoints(run.workdir, read_only=True, verify=verify)
        if not run.config.model.path or checkpoints.latest() is not None:
            return checkpoints
        checkpoints.close()
    logging.info("no checkpoint in %s: using the weights of %s", run.workdir, run.config.model.path)
    return None
