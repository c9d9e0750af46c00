"""Several problems as one error."""

from collections.abc import Iterable

from vsft_jax.errors import ConfigError

_LINES = 5


def refuse(problems: Iterable[str]) -> None:
    """Raises ConfigError if there are problems: one a line, five lines at most."""
    lines = list(dict.fromkeys(problems))
    if len(lines) > _LINES:
        lines[_LINES - 1 :] = [f"… and {len(lines) - _LINES + 1} more"]
    if lines:
        raise ConfigError("\n".join(lines))
