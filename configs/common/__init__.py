"""What config files share: typed arguments and the official benchmarks."""

from configs.common.arguments import MODEL_ARGS, frame_spec, parse_arg, published
from configs.common.benchmarks import OFFICIAL, official_benchmarks

__all__ = ["MODEL_ARGS", "OFFICIAL", "frame_spec", "official_benchmarks", "parse_arg", "published"]
