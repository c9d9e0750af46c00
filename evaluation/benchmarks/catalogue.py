"""Every official benchmark by its name in a config."""

from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.images.mmbench import MMBENCH
from evaluation.benchmarks.images.mme import MME
from evaluation.benchmarks.images.mmstar import MMSTAR
from evaluation.benchmarks.images.pope import POPE
from evaluation.benchmarks.videos.mvbench import MVBENCH
from evaluation.benchmarks.videos.tempcompass import TEMPCOMPASS
from evaluation.benchmarks.videos.videomme import VIDEO_MME
from evaluation.benchmarks.videos.videommmu import VIDEO_MMMU
from input_pipeline.errors import did_you_mean
from vsft_jax.errors import ConfigError

_ALL = (MME, MMSTAR, MMBENCH, POPE, VIDEO_MME, MVBENCH, TEMPCOMPASS, VIDEO_MMMU)
BENCHMARKS: dict[str, Benchmark] = {each.name: each for each in _ALL}


def find_benchmark(name: str, key: str = "official") -> Benchmark:
    """The benchmark of a name. key: of the config, for the error. Raises ConfigError."""
    if name not in BENCHMARKS:
        raise ConfigError(
            f"{key} = {name!r}: known benchmarks are {', '.join(BENCHMARKS)}"
            f"{did_you_mean(name, BENCHMARKS)}"
        )
    return BENCHMARKS[name]
