"""A pull back to where training started: L2-SP (arXiv 1802.01483) and EWC (arXiv 1612.00796)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class PullState(NamedTuple):
    """start: what trains, as training began. importance: as much, of each parameter, for EWC; a
    scalar 0 without it."""

    start: Any
    importance: Any


def pull_to_start(l2: float, ewc: float) -> optax.GradientTransformation:
    """Adds the gradient of ½ Σ (l2 + ewc · importance) (θ − start)² to the gradients.

    As a part of the optimiser its state goes with the checkpoint: a run that goes on is pulled to
    where it began, not to where it was stopped. With both factors 0 it only keeps the start. The
    importance begins at 0, see `fisher.with_fisher`.
    """

    def init(params: Any) -> PullState:
        zeros = jax.tree.map(jnp.zeros_like, params) if ewc else jnp.zeros(())
        return PullState(jax.tree.map(jnp.copy, params), zeros)

    def update(grads: Any, state: PullState, params: Any = None) -> tuple[Any, PullState]:
        if params is None:
            raise ValueError("a pull to the start needs the parameters as they are")
        if l2:
            grads = jax.tree.map(lambda g, p, s: g + l2 * (p - s), grads, params, state.start)
        if ewc:
            grads = jax.tree.map(
                lambda g, p, s, f: g + ewc * f * (p - s),
                *(grads, params, state.start, state.importance),
            )
        return grads, state

    return optax.GradientTransformation(init, update)


def start_of(opt_state: Any) -> Any:
    """What trains as training began, out of the state of an optimiser that keeps it."""
    return _pull(opt_state).start


def with_importance(opt_state: Any, importance: Any) -> Any:
    """The optimiser's state with another importance."""
    return jax.tree.map(
        lambda x: x._replace(importance=importance) if isinstance(x, PullState) else x,
        opt_state,
        is_leaf=lambda x: isinstance(x, PullState),
    )


def _pull(opt_state: Any) -> PullState:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, PullState))
    return next(leaf for leaf in leaves if isinstance(leaf, PullState))
