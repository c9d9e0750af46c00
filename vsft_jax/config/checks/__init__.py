"""Is this config one that can be run? Asked before a file is touched.

In: a config. Out: nothing, or a ConfigError with a line for each problem. `keys.KEYS` has a line a
key, `rules.RULES` a function for what several keys must fulfil together.
"""

from ml_collections import ConfigDict

from vsft_jax.config.checks.keys import KEYS
from vsft_jax.config.checks.problems import refuse
from vsft_jax.config.checks.rules import broken_rules, layout_problems
from vsft_jax.config.checks.values import wrong_values

__all__ = ["KEYS", "check_config", "layout_problems", "refuse"]


def check_config(config: ConfigDict) -> None:
    """Raises ConfigError for wrong values, and where there are none for broken rules."""
    refuse(wrong_values(config.to_dict()))
    refuse(broken_rules(config))
