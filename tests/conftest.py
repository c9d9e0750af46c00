"""Tests run on the CPU, which poses as eight devices so that sharding is exercised everywhere."""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import resource
import signal
from pathlib import Path

# Set in the environment, so that programs which tests start have the same.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# Tests compile much and compute little. Without LLVM's optimisations and with the plain emitters
# of loops, a train step compiles in a fifth of the time; what it computes is the same.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # later ones do not know this flag
    plain = " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + plain

import jax  # noqa: E402  (the environment comes first)
import pytest  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from configs import tiny  # noqa: E402
from vsft_jax.config import Run  # noqa: E402
from vsft_jax.prepare import ensure_made_sets  # noqa: E402

_ALL_DEVICES = jax.devices

_TORCHVISION = importlib.util.find_spec("torchvision")
if _TORCHVISION and _TORCHVISION.origin:
    # The oracles' resizing needs torchvision, whose compiled operators may be built for CUDA and
    # do not load beside a CPU-only torch then. None of them is called; they must only be declared.
    import torch

    torch.set_num_threads(1)  # tiny models; more would fight with JAX and other tests for the cores
    try:
        torch.ops.load_library(str(Path(_TORCHVISION.origin).with_name("_C.so")))
    except OSError:
        if not hasattr(torch.ops.torchvision, "nms"):  # this file is imported under two names
            _OPERATORS = torch.library.Library("torchvision", "DEF")
            _OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def pytest_configure(config):
    """What one test compiled is there for the others, in other processes and in later runs too.

    An entry's key holds versions, flags and the program itself. `pytest --cache-clear` empties it.
    What programs keep for their user lies there as well, not in the home directory.
    """
    os.environ["XDG_CACHE_HOME"] = str(config.cache.mkdir("cache-of-the-user"))
    settings = {
        "jax_compilation_cache_dir": str(config.cache.mkdir(f"compiled-on-{platform.node()}")),
        "jax_compilation_cache_max_size": 2**30,  # bytes; what was not used for longest goes
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def heeds_signals():
    """Started in the background or under nohup, tests would ignore these, as would their jobs."""
    heeding = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [each for each in heeding if signal.getsignal(each) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, heeding[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def devices(count: int):
    """Everything inside sees only the first `count` devices."""
    first = _ALL_DEVICES()[:count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda *_: first)
        yield


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """Files of this process cannot grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The folder in which a tiny demo world was rendered, shared by all tests: <folder>/world."""
    root = tmp_path_factory.mktemp("data")
    ensure_made_sets(Run(tiny.get_config(), root))
    return root


@pytest.fixture(scope="session")
def shared_config(world) -> ConfigDict:
    """configs/tiny.py on the shared world, with indexes shared by all tests: copy to change.

    Without its benchmarks of text, which tests/evaluation/held_texts has: few others need them.
    """
    config = tiny.get_config()
    for name in ("world_text", "world_held"):
        del config.data.benchmarks[name]
    config.data.root = str(world)
    config.data.index_dir = str(world / "index")
    return config.lock()


@pytest.fixture
def one_device():
    """The test sees a single device."""
    with devices(1):
        yield
