"""What the config says about decoding."""

import pytest

from configs import default
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError


def test_one_decoder_for_all_jobs():
    config = default.get_config()
    config.data.decoder = "threads"
    first = Run(config, "").decoder
    assert Run(config, "").decoder is first
    config.data.decode_timeout_s = 5.0
    assert Run(config, "").decoder is not first


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decoder", "fork"),
        ("workers", 0),
        ("decode_threads", 0),
        ("decode_timeout_s", 0.0),
        ("cache_gb", 0.0),
    ],
)
def test_values_that_cannot_be_are_named(key, value, tmp_path):
    config = default.get_config()
    config.data.cache_dir = str(tmp_path)
    config.data[key] = value
    with pytest.raises(ConfigError, match=f"config.data.{key} = "):
        _ = Run(config, tmp_path).decoder
