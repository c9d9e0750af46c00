"""Between the model that training started from and the tuned one (WiSE-FT, arXiv 2109.01903)."""

from collections.abc import Mapping
from typing import Any

import jax
from absl import logging
from flax import nnx

from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import load_params
from vsft_jax.lora import is_adapter
from vsft_jax.parameters import flatten


def interpolated(
    run: Run, tuned: nnx.State, shapes: nnx.State, meta: Mapping[str, Any]
) -> nnx.State:
    """start + `config.remedy.interpolate` · (tuned − start); at 0 the start, bit for bit.

    The start is the last checkpoint of `config.train.init_from`, as the config or the checkpoint's
    own names it, or the weights of `config.model.path`. tuned: the checkpoint's parameters. shapes:
    of the same. meta: the checkpoint's. Needs memory for both.

    Raises ConfigError where there is no start, or where it or the model has adapters.
    """
    alpha = run.config.remedy.interpolate
    if alpha == 1.0:
        return tuned
    where = run.config.train.init_from or meta["config"]["train"]["init_from"]
    if any(map(is_adapter, flatten(shapes))):
        raise ConfigError(
            f"config.remedy.interpolate = {alpha}: the model has adapters, whose effect "
            "config.lora.eval_scale scales"
        )
    if where:
        logging.info("interpolating: %g of the way from %s", alpha, where)
        verify = run.config.train.verify_checkpoints
        source = Checkpoints(where, read_only=True, verify=verify)
        if (source.meta()["config"].get("lora") or {}).get("rank"):
            raise ConfigError(
                f"config.remedy.interpolate = {alpha}: {where}, from which training started, has "
                "adapters: export it and start from the export"
            )
        start = source.restore_params(shapes)
        source.close()
    elif directory := run.model_directory:
        start = load_params(run.family, run.model_config, directory, shapes)
    else:
        raise ConfigError(
            f"config.remedy.interpolate = {alpha}: training began from fresh parameters "
            "(config.train.init_from and config.model.path are empty)"
        )
    if alpha == 0.0:
        return start
    mixed = jax.jit(
        lambda start, tuned: jax.tree.map(
            lambda s, t: (s + alpha * (t - s)).astype(t.dtype), start, tuned
        ),
        donate_argnums=1,
    )
    return mixed(start, tuned)
