"""What answers and scores depend on besides the model and the frame policy, for the record.

Two results can be compared where these agree: `evaluation/compare/` names what does not.
"""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation import scoring
from input_pipeline.mirrors import shown
from input_pipeline.text import TEXT_FILES
from vsft_jax.checkpoints import home
from vsft_jax.checkpoints.manifest import MANIFEST
from vsft_jax.huggingface import model_fingerprint

if TYPE_CHECKING:
    from input_pipeline.batches.rows import Item
    from vsft_jax.config import Run
    from vsft_jax.inference import LoadedModel


# What turns files into pixels; other versions may give other pixels.
_DECODERS = ("av", "opencv-python-headless", "pillow")
_OTHERS = ("vsft-jax", "jax", "jaxlib", "flax", "numpy", "tokenizers")


def settings(run: "Run", questions: "Sequence[Item]") -> dict[str, Any]:
    """What must be the same for two models' answers to be comparable, as JSON values.

    resolution: the rules by which media become pixels and tokens; what a question lost of them to
    fit into a row shows in its answer's frames and visual tokens. template: hash of the tokenizer's
    files with the chat template. questions: hash of what is asked, in which words, and of the right
    answers. scorer: hash of the scorers' source. decoder: versions. dtype: of the computation.
    control, limit: as `config.eval` has them, where something else than the benchmark is asked.
    eval_scale, interpolate: where what fine-tuning did is used in part.
    """
    rules = run.layout
    found = {
        "resolution": {"rules": type(rules).__name__, **dataclasses.asdict(rules)},
        **_template_and_dtype(run),
        "questions": _questions_hash(questions),
        "scorer": _hash_of_files(_sources(scoring)),
        "decoder": _versions(_DECODERS),
    }
    asked = run.config.eval
    found |= {key: asked[key] for key in ("control", "limit") if asked[key]}
    return json.loads(json.dumps(found | _scales(run)))


def settings_of_texts(run: "Run", texts: Sequence[tuple[str, str]], window: int) -> dict[str, Any]:
    """The same for held texts, given as (id, text). texts: hash of what they say. window: tokens
    that are seen at a time."""
    digest = hashlib.sha256(json.dumps(texts).encode())
    limit = {"limit": run.config.eval.limit} if run.config.eval.limit else {}
    found = {**_template_and_dtype(run), "texts": digest.hexdigest()[:12], "window": window}
    return found | limit | _scales(run)


def _template_and_dtype(run: "Run") -> dict[str, Any]:
    return {
        "template": _hash_of_files(Path(run.tokenizer_dir) / name for name in TEXT_FILES),
        "dtype": run.config.model.dtype,
    }


def _scales(run: "Run") -> dict[str, float]:
    scales = {
        "eval_scale": run.config.lora.eval_scale,
        "interpolate": run.config.remedy.interpolate,
    }
    return {key: value for key, value in scales.items() if value != 1.0}


def software() -> dict[str, str]:
    """Versions that may change an answer in its last digits, and on what it was computed."""
    import jax  # not at the top: what is read by reports needs none

    return {
        "python": platform.python_version(),
        **_versions(_OTHERS),
        "device": jax.devices()[0].device_kind,
    }


def checkpoint(model: "LoadedModel") -> dict[str, Any]:
    """{"step", "path", "fingerprint"} of what was asked. The fingerprint tells it from another one
    that lay at the same place: a hash of the checkpoint's manifest; of an imported model its
    `model_fingerprint`; None where there is neither, as before a step is saved."""
    found = {"step": model.step, "path": shown(model.source)}
    return {**found, "fingerprint": _fingerprint(model)}


def _fingerprint(model: "LoadedModel") -> str | None:
    manifest = home(model.source) / str(model.step) / MANIFEST
    if manifest.exists():
        return _hash_of_files([manifest])
    imported = model.step == 0 and any(model.source.glob("*.safetensors"))
    return model_fingerprint(model.source) if imported else None


def _questions_hash(questions: "Sequence[Item]") -> str:
    """Of ids, words, kinds of media and right answers, in any order; where media lie is no part."""
    digests = []
    for example, _ in questions:
        turns = [
            [turn.role, [part if isinstance(part, str) else part.kind for part in turn.parts]]
            for turn in example.turns
        ]
        asked = [example.id, turns, example.meta.get("answer")]
        digests.append(hashlib.sha256(json.dumps(asked).encode()).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:12]


def _sources(module: Any) -> list[Path]:
    """The files of a module or a package."""
    file = Path(module.__file__)
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def _hash_of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return digest.hexdigest()[:12]


def _versions(names: Iterable[str]) -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
