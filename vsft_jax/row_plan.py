"""Which rows a run trains on, and how full they are."""

from collections.abc import Generator, Mapping

import numpy as np
from absl import logging

from input_pipeline.batches import Batch, BatchPlan, SourceSizes, fill_lines, make_batches
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError


def batch_plan(
    run: Run, stores: Mapping[str, ExampleStore], *, batch_rows: int | None = None
) -> BatchPlan:
    """The packed rows of every step: a function of the indexes, the mixture and the seed alone."""
    return BatchPlan(
        {
            name: SourceSizes(store.tokens, store.patches, store.largest_grids)
            for name, store in stores.items()
        },
        mixture_weights(run, stores),
        batch_rows=batch_rows or run.config.train.batch_rows,
        seed=run.config.seed,
        max_tokens=run.row_shape.tokens,
        max_patches=run.row_shape.patches,
        window=run.config.train.pack_window,
        slices=run.row_shape.slices,
    )


def planned_batches(
    run: Run,
    store: ExampleStore,
    plan: BatchPlan,
    here: np.ndarray,
    *,
    steps: int,
    start_step: int = 0,
) -> Generator[Batch, None, None]:
    """The steps of a plan, loaded. store: what the plan was made of. here: rows of this process."""
    return make_batches(
        store,
        lambda step: plan.local_rows(step, here),
        run.tokenizer,
        run.layout,
        run.row_shape,
        steps=steps,
        start_step=start_step,
        decoder=run.decoder,
        threads=run.config.data.workers,
    )


def mixture_weights(run: Run, stores: Mapping[str, ExampleStore]) -> dict[str, float]:
    """How often an epoch takes each example of a source, on average."""
    sizes = {name: len(store) for name, store in stores.items()}
    tokens = {name: int(store.tokens.sum()) for name, store in stores.items()}
    try:
        return run.mixture.weights(sizes, tokens)
    except ValueError as error:
        raise ConfigError(f"config.data: {error}") from error


def log_fill(run: Run, plan: BatchPlan) -> None:
    """How full the rows of an epoch are, and which size of them would be fuller."""
    fuller = plan.fuller_rows(run.layout.patches_per_unit)
    logging.info("%s", "\n".join(fill_lines(plan.pack_plan(0), fuller)))
