"""Is this config one that can be run? Asked before a file is touched.

In: a config. Out: nothing, or a ConfigError with a line for each problem. `keys.KEYS` has a line a
key, `rules.RULES` a function for what several keys must fulfil together.
"""

from ml_collections import ConfigDict

from vsft_jax.config.checks.keys import KEYS
from vsft_jax.config.checks.kinds import without_prefix
from vsft_jax.config.checks.problems import refuse
from vsft_jax.config.checks.rules import (
    base_config,
    broken_rules,
    layout_problems,
    wrong_in_study,
)
from vsft_jax.config.checks.values import wrong_values

__all__ = [
    "KEYS",
    "base_config",
    "check_config",
    "check_study",
    "layout_problems",
    "refuse",
    "without_prefix",
]


def check_config(config: ConfigDict) -> None:
    """Raises ConfigError for wrong values, and where there are none for broken rules."""
    refuse(wrong_values(config.to_dict()))
    refuse(broken_rules(config))


def check_study(config: ConfigDict) -> None:
    """Raises ConfigError for a checked config whose `study` cannot be carried out. Other jobs do
    not look at it: a config made from another one may still have that one's."""
    if not config.study.frames:
        refuse(["config.study.frames is empty: name at least one frame policy"])
    refuse(wrong_in_study(config))
