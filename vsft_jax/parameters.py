"""Parameters by path, such as "llm/layers/q/kernel": naming them and choosing among them."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vsft_jax.errors import ConfigError

_MLPS = "(mlp(/experts|/shared)?|beside/mixture/experts)"
# Which matrices to tune so that little is forgotten: arXiv 2510.08564 compares "attention" and
# "gate_up" with tuning everything. Where layers are of several kinds, their names stand between:
# "llm/layers/full/q". z is the gate of layers with a state.
PRESETS = {
    "attention": r"llm/layers(/\w+)?/(q|k|v|z|o)",
    "gate_up": rf"llm/layers(/\w+)?/{_MLPS}/(gate|up)",
    "linear": rf"llm/layers(/\w+)?/(q|k|v|z|o|{_MLPS}/(gate|up|down))",
}


def path_string(path: Sequence[Any]) -> str:
    """A pytree path as "text/layers/q/kernel"."""
    parts = (str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
    return "/".join(part for part in parts if part != "value")


def flatten(tree: Any) -> dict[str, Any]:
    """A pytree as {path: leaf}."""
    return {path_string(path): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def unflatten(like: Any, flat: dict[str, Any]) -> Any:
    """Inverse of `flatten`, with the structure of `like`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[path_string(path)], like)


def not_finite(params: Any) -> str:
    """Which parameters hold NaN or an infinity, in words; "" where none does."""
    finite = jax.device_get(_finite(flatten(params)))
    bad = [name for name, whole in finite.items() if not whole]
    if not bad:
        return ""
    more = f" and {len(bad) - 1} more parameters are" if bad[1:] else " is"
    return f"{bad[0]}{more} not finite"


@jax.jit
def _finite(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: jnp.isfinite(x).all() for name, x in params.items()}


def selector(pattern: str, key: str) -> Callable[[str], bool]:
    """Whether a parameter, "llm/layers/q/kernel", is chosen.

    Args:
        pattern: a name of `PRESETS`, or a regular expression for the whole path or for a part of
            the model that it lies in: "llm/layers" chooses everything below it.
        key: the config key that the pattern comes from, for the error.

    Raises:
        ConfigError: not a regular expression.
    """
    expression = PRESETS.get(pattern, pattern)
    try:
        whole = re.compile(f"(?:{expression})(?:/.*)?")
    except re.error as error:
        raise ConfigError(
            f"{key} = {pattern!r} is neither one of {tuple(PRESETS)} nor a regular expression for "
            f'parameter paths such as "llm/layers/(q|k)": {error}'
        ) from None
    return lambda path: whole.fullmatch(path) is not None
