"""What a run says before its first step: how rows are filled, with what, and what trains."""

from collections.abc import Mapping

from absl import logging

from input_pipeline.batches import BatchPlan, realised_mix
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.parameters import flatten
from vsft_jax.row_plan import log_fill, mixture_weights
from vsft_jax.train.step import TrainState


def log_plan(run: Run, plan: BatchPlan) -> None:
    """How an epoch is packed, and how it could be packed better."""
    train = run.config.train
    log_fill(run, plan)
    rows = plan.pack_plan(0).rows
    logging.info(
        "%d steps of %d rows are %.2f epochs",
        *(train.steps, train.batch_rows, train.steps * train.batch_rows / rows),
    )
    if train.batch_rows > rows:
        logging.warning(
            "an epoch is %d rows, and a step of config.train.batch_rows = %d takes them %.1f "
            "times: set it to %d or fewer, or take smaller rows",
            *(rows, train.batch_rows, train.batch_rows / rows, rows),
        )


def log_mix(run: Run, stores: Mapping[str, ExampleStore]) -> None:
    """What the first epoch is made of."""
    names = ("tokens", "visual_tokens")
    columns = {
        source: {name: getattr(store, name) for name in names} for source, store in stores.items()
    }
    mix = realised_mix(mixture_weights(run, stores), columns, run.config.seed)
    total = {key: max(sum(of[key] for of in mix.values()), 1) for key in ("examples", *names)}
    for source, of in mix.items():
        logging.info(
            "  %s: %d of %d examples (%.1f %%), %d tokens (%.1f %%), %d visual tokens (%.1f %%)",
            *(source, of["examples"], len(stores[source])),
            *(100 * of["examples"] / total["examples"], of["tokens"]),
            *(100 * of["tokens"] / total["tokens"], of["visual_tokens"]),
            100 * of["visual_tokens"] / total["visual_tokens"],
        )


def log_parameters(run: Run, state: TrainState) -> None:
    """How many parameters each part has, and how many of them train."""
    component_of = run.family.component_of
    counts: dict[str, list[int]] = {}  # part → parameters that train, all
    for trains, params in ((True, state.trainable), (False, state.frozen)):
        for path, leaf in flatten(params).items():
            count = counts.setdefault(component_of(path), [0, 0])
            count[0] += leaf.size * trains
            count[1] += leaf.size
    logging.info(
        "%s parameters: %s",
        f"{sum(count for _, count in counts.values()):,}",
        ", ".join(
            f"{part} {count:,}"
            + ("" if trained == count else f" ({trained:,} train)" if trained else " (frozen)")
            for part, (trained, count) in counts.items()
        ),
    )
