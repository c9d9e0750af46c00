"""What differs in how two models were asked, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.cell_config import flat
from evaluation.results import BenchmarkResult, Prediction
from input_pipeline.frame_budget import canonical_spec, spec_hash

_NOT_RECORDED = "not recorded"
_WIDTH = 60  # characters of a value


def unlike(
    result: BenchmarkResult,
    base: BenchmarkResult,
    pairs: Sequence[tuple[Prediction, Prediction]],
) -> list[str]:
    """What decides scores besides the model and is not the same: a line for each setting,
    "frames.kind: fixed, the base hybrid"; empty where the scores can be compared.

    pairs: the answers of both to each question. A setting that older files do not record counts as
    unlike, and so do questions that were shown otherwise, because rows of one of the two were too
    short for them. A frame policy does not reach
    pictures, so there it may differ.
    """
    here, there = result.provenance, base.provenance
    lines = []
    if result.modality == "video" and spec_hash(here.frame_policy) != spec_hash(there.frame_policy):
        first, second = (canonical_spec(each.frame_policy) for each in (here, there))
        lines += _differences({"frames": first}, {"frames": second})
    for name in ("generation", "settings"):
        both = getattr(here, name), getattr(there, name)
        if all(each is None for each in both):
            lines.append(f"{name}: {_NOT_RECORDED} in either")
        elif any(each is None for each in both):
            lines.append(f"{name}: {_NOT_RECORDED} {'here' if both[0] is None else 'of the base'}")
        else:
            prefix = "generation." if name == "generation" else ""
            lines += _differences(*both, prefix)
    otherwise = sum(_shown(answer) != _shown(of_base) for answer, of_base in pairs)
    if otherwise and not lines:
        lines.append(f"{otherwise} of {len(pairs)} questions with other frames, or at another size")
    return lines


def other_software(result: BenchmarkResult, base: BenchmarkResult) -> list[str]:
    """Versions and devices that are not the same, which change answers in rare cases."""
    here, there = result.provenance.software, base.provenance.software
    return _differences(here, there) if here and there else []


def _shown(answer: Prediction) -> tuple[int | None, int]:
    return answer.frames, answer.visual_tokens


def _differences(here: Mapping[str, Any], there: Mapping[str, Any], prefix: str = "") -> list[str]:
    first, second = flat(here), flat(there)
    return [
        f"{prefix}{key}: {_said(first, key)}, the base {_said(second, key)}"
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _said(values: Mapping[str, Any], key: str) -> str:
    text = str(values.get(key, _NOT_RECORDED))
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
