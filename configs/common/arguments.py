"""Config arguments: the typed part of `--config=file.py:key=value,key=value`."""

from typing import Any

from ml_collections import ConfigDict

from configs import default
from configs.common.benchmarks import official_benchmarks

# What every config of a published model takes; `published` says what it means.
MODEL_ARGS = {
    "size": "",
    "path": "",
    "frames": "hybrid",
    "annotations": "",
    "media_root": "",
    "preset": "",
    "init_from": "",
    "benchmarks": "",
    "benchmark_root": "",
}


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


def published(
    family: str, arg: str | None, *, size: str, candidates: tuple[int, ...], layout: dict[str, Any]
) -> ConfigDict:
    """The config of a published model, by the arguments of `MODEL_ARGS`.

    path: Hugging Face directory or hub id, for architecture, weights and tokenizer. size: a
    published size; without a path and without an argument it is `size` here, with random weights.
    frames: see `frame_spec`, with these candidates. annotations, media_root, preset: a training
    set, and how its publisher wrote it (docs/data.md).
    benchmarks, benchmark_root: see `official_benchmarks`.
    init_from: another run's workdir. layout: the family's layout choices and row sizes.
    """
    args = parse_arg(arg, **MODEL_ARGS)
    config = default.get_config()
    config.model.family = family
    config.model.path = args.path
    config.model.size = args.size if args.size or args.path else size
    config.frames = ConfigDict(frame_spec(args.frames, candidates))
    config.layout = ConfigDict(layout)
    config.train.init_from = args.init_from
    config.data.benchmarks = official_benchmarks(args.benchmarks)
    config.data.benchmark_root = args.benchmark_root
    if args.annotations:
        config.data.train.own = ConfigDict(
            {"annotations": args.annotations, "media_root": args.media_root, "weight": 1.0}
        )
        config.data.train.own.preset = args.preset
    return config


def frame_spec(text: str, candidates: tuple[int, ...], **hybrid: Any) -> dict[str, Any]:
    """The frame-budget spec that a short word stands for.

    "8" is eight frames for every video; "hybrid", "instruction", "similarity" and "duration" choose
    among `candidates`; "learned:PATH" goes by the predictor in a file that --job=budget wrote. Two
    controls give the hybrid rule's budgets to other clips: "random" to any, "typed" to those with
    the same kind of question.
    hybrid: further keys of the hybrid rule. Raises ValueError for any other word.
    """
    if text.isdigit():
        return {"kind": "fixed", "frames": int(text)}
    rule = {"kind": "hybrid", "candidates": candidates, "label": "hybrid", **hybrid}
    if text == "hybrid":
        return rule
    if text == "random":
        return {"kind": "random_matched", "of": rule, "label": "random-matched"}
    if text == "typed":
        return {"kind": "type_matched", "of": rule, "label": "type-matched"}
    if text in ("instruction", "similarity", "duration"):
        return {"kind": text, "candidates": candidates, "label": text}
    word, _, path = text.partition(":")
    if word == "learned" and path:
        return {"kind": "learned", "path": path, "label": "learned"}
    raise ValueError(
        f"frames={text!r}: expected a number of frames, or one of hybrid, instruction, similarity, "
        "duration, random, typed, learned:PATH"
    )
