"""Config arguments: the typed part of `--config=file.py:key=value,key=value`."""

from typing import Any

from ml_collections import ConfigDict


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Reads `key=value,key=value` into a ConfigDict with the types of `defaults`.

    A key without a value sets a bool to True. Raises ValueError naming an unknown key (with the
    known ones) or a value that is not of the default's type.
    """
    values = dict(defaults)
    for item in filter(None, (arg or "").split(",")):
        key, equals, text = item.partition("=")
        if key not in defaults:
            raise ValueError(
                f"unknown config argument {key!r} in {arg!r}; this file takes: "
                + ", ".join(f"{k} (default {v!r})" for k, v in defaults.items())
            )
        values[key] = _convert(key, text if equals else "true", type(defaults[key]))
    return ConfigDict(values)


def _convert(key: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"config argument {key}={text!r}: expected true or false")
        return text.lower() in ("true", "1")
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"config argument {key}={text!r}: expected {kind.__name__}") from error


def frame_spec(text: str, candidates: tuple[int, ...], **hybrid: Any) -> dict[str, Any]:
    """The frame-budget spec that a short word stands for.

    "8" is eight frames for every video; "hybrid", "instruction", "similarity" and "duration" choose
    among `candidates`; "random" is the control that draws from the hybrid rule's histogram.
    hybrid: further keys of the hybrid rule. Raises ValueError for any other word.
    """
    if text.isdigit():
        return {"kind": "fixed", "frames": int(text)}
    rule = {"kind": "hybrid", "candidates": candidates, "label": "hybrid", **hybrid}
    if text == "hybrid":
        return rule
    if text == "random":
        return {"kind": "random_matched", "of": rule, "label": "random-matched"}
    if text in ("instruction", "similarity", "duration"):
        return {"kind": text, "candidates": candidates, "label": text}
    raise ValueError(
        f"frames={text!r}: expected a number of frames, or one of hybrid, instruction, similarity, "
        "duration, random"
    )
