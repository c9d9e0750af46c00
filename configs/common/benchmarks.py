"""The official benchmarks by the word of `benchmarks=`, as entries of config.data.benchmarks."""

from typing import Any

from ml_collections import ConfigDict


def _official(official: str, modality: str, **options: Any) -> dict[str, Any]:
    return {"official": official, "modality": modality, "options": options}


# docs/evaluation.md says what each is; their options stand here, so that a run can change them.
OFFICIAL = {
    "mme": _official("mme", "image"),
    "mmstar": _official("mmstar", "image"),
    "mmbench": _official("mmbench", "image", language="en"),
    "mmbench_cn": _official("mmbench", "image", language="cn"),
    "ccbench": _official("mmbench", "image", language="cc"),
    "pope": _official("pope", "image"),
    "videomme": _official("videomme", "video", subtitles="none"),
    "videomme_subtitles": _official("videomme", "video", subtitles="shown"),
    "mvbench": _official("mvbench", "video"),
    "tempcompass": _official("tempcompass", "video"),
    "videommmu": _official("videommmu", "video", image="append", tracks="all"),
    "videommmu_knowledge": _official("videommmu", "video", image="append", tracks="knowledge"),
    "videomme_v2": _official("videomme_v2", "video", subtitles="none"),
    "mlvu": _official("mlvu", "video"),
    "longvideobench": _official("longvideobench", "video", subtitles="none"),
    "charades_sta": _official("charades_sta", "video"),
    "tomato": _official("tomato", "video"),
    "lvbench": _official("lvbench", "video"),
    "egoschema": _official("egoschema", "video"),
    "nextqa": _official("nextqa", "video"),
    "textvqa": _official("textvqa", "image"),
    "ai2d": _official("ai2d", "image"),
    "realworldqa": _official("realworldqa", "image"),
    "ocrbench": _official("ocrbench", "image"),
    "mmmu": _official("mmmu", "image"),
    "mmlu": _official("mmlu", "text"),
}


def official_benchmarks(text: str) -> ConfigDict:
    """Entries of config.data.benchmarks for "mme+videomme": names of official benchmarks, or of
    repositories on the hub that are called like them ("lmms-lab/Video-MME"). Their files lie in
    folders of config.data.benchmark_root, or in the hub's cache. Raises ValueError for a name that
    is none.
    """
    words = {word.replace("_", ""): word for word in OFFICIAL}
    names = []
    for given in filter(None, text.split("+")):
        plain = given.rpartition("/")[2].replace("-", "").replace("_", "").lower()
        if given not in OFFICIAL and not ("/" in given and plain in words):
            raise ValueError(f"benchmarks={text!r}: {given!r} is none of {', '.join(OFFICIAL)}")
        names.append(given if given in OFFICIAL else words[plain])
    return ConfigDict({name: {**OFFICIAL[name], "partial": False} for name in names})
