"""Jobs in this process set up JAX and the log for themselves: taken back here."""

import logging as standard_logging

import jax
import pytest
from absl import logging
from jax.experimental.compilation_cache import compilation_cache

_JAX = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_enable_xla_caches",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture(autouse=True, scope="module")
def set_back():
    values = {name: getattr(jax.config, name) for name in _JAX}
    verbosity, handlers = logging.get_verbosity(), list(standard_logging.root.handlers)
    level = logging.get_absl_logger().level
    filters = list(logging.get_absl_handler().filters)
    yield
    for name, value in values.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it may have been opened in a bucket that is gone
    logging.set_verbosity(verbosity)
    logging.get_absl_logger().setLevel(level)  # set_verbosity sets one where there was none
    standard_logging.root.handlers[:] = handlers
    logging.get_absl_handler().filters[:] = filters
