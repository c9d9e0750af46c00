"""Every official benchmark by its name in a config."""

from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.images.ai2d import AI2D
from evaluation.benchmarks.images.mmbench import MMBENCH
from evaluation.benchmarks.images.mme import MME
from evaluation.benchmarks.images.mmmu import MMMU
from evaluation.benchmarks.images.mmstar import MMSTAR
from evaluation.benchmarks.images.ocrbench import OCRBENCH
from evaluation.benchmarks.images.pope import POPE
from evaluation.benchmarks.images.realworldqa import REALWORLDQA
from evaluation.benchmarks.images.textvqa import TEXTVQA
from evaluation.benchmarks.texts.mmlu import MMLU
from evaluation.benchmarks.videos.charades_sta import CHARADES_STA
from evaluation.benchmarks.videos.egoschema import EGOSCHEMA
from evaluation.benchmarks.videos.longvideobench import LONG_VIDEO_BENCH
from evaluation.benchmarks.videos.lvbench import LVBENCH
from evaluation.benchmarks.videos.mlvu import MLVU
from evaluation.benchmarks.videos.mvbench import MVBENCH
from evaluation.benchmarks.videos.nextqa import NEXTQA
from evaluation.benchmarks.videos.tempcompass import TEMPCOMPASS
from evaluation.benchmarks.videos.tomato import TOMATO
from evaluation.benchmarks.videos.videomme import VIDEO_MME
from evaluation.benchmarks.videos.videomme_v2 import VIDEO_MME_V2
from evaluation.benchmarks.videos.videommmu import VIDEO_MMMU
from input_pipeline.errors import did_you_mean
from vsft_jax.errors import ConfigError

_ALL = (
    MME,
    MMSTAR,
    MMBENCH,
    POPE,
    VIDEO_MME,
    MVBENCH,
    TEMPCOMPASS,
    VIDEO_MMMU,
    VIDEO_MME_V2,
    MLVU,
    LONG_VIDEO_BENCH,
    CHARADES_STA,
    TOMATO,
    LVBENCH,
    EGOSCHEMA,
    NEXTQA,
    TEXTVQA,
    AI2D,
    REALWORLDQA,
    OCRBENCH,
    MMMU,
    MMLU,
)
BENCHMARKS: dict[str, Benchmark] = {each.name: each for each in _ALL}


def find_benchmark(name: str, key: str = "official") -> Benchmark:
    """The benchmark of a name. key: of the config, for the error. Raises ConfigError."""
    if name not in BENCHMARKS:
        raise ConfigError(
            f"{key} = {name!r}: known benchmarks are {', '.join(BENCHMARKS)}"
            f"{did_you_mean(name, BENCHMARKS)}"
        )
    return BENCHMARKS[name]
