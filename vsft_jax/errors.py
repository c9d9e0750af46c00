"""The error for what a user can put right in a config; everything may import it."""

from input_pipeline.errors import UserError


class ConfigError(UserError, ValueError):
    """A config value cannot be used; the message names the key, the value and the remedy."""
