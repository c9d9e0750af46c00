"""This repository's step: all examples packed into one row."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from bench.train_step.mixed_row import PATCHES, TOKENS, Example, answer_tokens, tokens
from configs import default
from tests.parity.reference import packed_arrays
from vsft_jax.huggingface.tensors import params_from_hf
from vsft_jax.lora import ModelBuilder
from vsft_jax.models.qwen2_5_vl import FAMILY
from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.parameters import flatten
from vsft_jax.sharding import abstract_model, make_mesh, put_batch
from vsft_jax.train.optimizer import make_optimizer
from vsft_jax.train.step import Trainer


def our_step(
    config: ModelConfig, weights: dict[str, np.ndarray], given: Sequence[Example], rows: int
) -> Callable[[], float]:
    """Takes a step and returns its loss; the state goes on from call to call.

    weights: transformers' tensors. rows: how many times the usual row the one row is long.
    """
    settings = default.get_config()
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    build, rules = ModelBuilder(FAMILY, config), tuple(FAMILY.partition_rules())
    trainer = Trainer(
        build=build,
        trains=frozenset(flatten(abstract_model(build, rules, mesh)[1])),
        optimizer=make_optimizer(settings.optimizer, FAMILY.component_of),
        steps=1000,
        rules=rules,
        mesh=mesh,
        loss_chunk=256,
    )
    jax.set_mesh(mesh)
    arrays = packed_arrays(config, [given], rows * TOKENS, rows * PATCHES)
    arrays["loss_weights"][:] = 0
    end = 0
    for example in given:
        end += tokens(config, example)
        # The last position has no next token.
        arrays["loss_weights"][0, end - 1 - answer_tokens(example) : end - 1] = 1
    batch = put_batch(arrays, mesh, 1)
    state = trainer.init(params_from_hf(FAMILY, config, weights))

    def step() -> float:
        nonlocal state
        state, metrics = trainer.step(state, batch)
        return float(metrics.loss.compute())

    return step
