"""Configs: from a file, or as a run saved it, with values of the command line on top."""

import importlib.util
import inspect
import json
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags
from ml_collections.config_flags import config_path

from configs import default
from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.mirrors import shown

SAVED = "config.json"  # what training leaves: {"config": its values, "frames": its frame policy}

_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")
# Sections whose keys depend on the model family or the kind of policy: no default fills them up.
_OWN_KEYS = ("frames", "layout")
_WORKED_OUT = {"train.epochs": "train.steps", "train.batch_examples": "train.batch_rows"}
_EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a tuple such as (1, 2)",
    ConfigDict: 'a dict such as {"key": 1}',
}


# ── From a file. ────────────────────────────────────────────────────────────────────────────────


def load(named: str) -> ConfigDict:
    """The config of `path.py:arguments`. Raises UserError for whatever is wrong in the file, with
    the line."""
    path, colon, argument = named.partition(":")
    file = Path(path)
    if file.is_dir():
        files = ", ".join(str(each) for each in sorted(file.glob("*.py"))[:3])
        hint = f", such as {files}" if files else ""
        raise UserError(f"--config={named} is a folder: name a Python file{hint}")
    if not file.is_file():
        raise UserError(f"--config={named}: no such file{_nearest_file(file)}")
    if file.suffix != ".py":
        raise UserError(f"--config={named}: expected a Python file such as those of configs/")
    try:
        get_config = getattr(_module(file), "get_config", None)
        if get_config is None:
            raise UserError("it has no get_config()")
        if colon and not inspect.signature(get_config).parameters:
            raise UserError(f"its get_config() takes no arguments, here {argument!r}")
        config = get_config(*([argument] if colon else []))
    except Exception as error:
        raise UserError(f"--config={named}: {_said(error, file)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={named}: get_config() returned {config!r:.50}, not a ConfigDict")
    return config


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location("config_file", file.absolute())
    assert spec and spec.loader, "a file whose name ends in .py"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _nearest_file(missing: Path) -> str:
    """A config file whose name is near; folders alone make no two files alike."""
    folders = dict.fromkeys((missing.parent, Path("configs")))
    files = [file for folder in folders for file in folder.glob("*.py")]
    near = [str(file) for file in files if did_you_mean(missing.stem, [file.stem])]
    return did_you_mean(str(missing), near)


def _said(error: Exception, file: Path) -> str:
    """An error of a config file with its line; one that was raised on purpose speaks for itself."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename}: {error.msg}"
    inner = error.args[0] if error.args else error  # ml_collections has errors about errors
    cause = inner if isinstance(inner, Exception) else error
    message = " ".join(str(cause.args[0] if isinstance(cause, KeyError) else cause).split())
    frames = traceback.extract_tb(error.__traceback__)
    raised = frames[-1]
    on_purpose = (raised.line or "").startswith("raise ") and "site-packages" not in raised.filename
    if on_purpose:
        return message
    inside = [frame for frame in frames if Path(frame.filename) == file.absolute()]
    where = f"line {inside[-1].lineno}: {inside[-1].line}\n" if inside else ""
    return f"{where}{type(error).__name__}: {message}"


# ── Of a run. ───────────────────────────────────────────────────────────────────────────────────


def saved(workdir: Path) -> ConfigDict:
    """The config that training saved in a workdir; keys that are newer have their defaults.

    Raises UserError for a folder without one.
    """
    path = workdir / SAVED
    if not path.is_file():
        cells = sorted(workdir.glob(f"cells/*/{SAVED}"))
        study = f", but runs of a study that have: {cells[0].parent} is one" if cells else ""
        raise UserError(
            f"--workdir={shown(workdir)} has no {SAVED}{study}; give a --config as well"
        )
    try:
        values = _with_tuples(json.loads(path.read_text(encoding="utf-8"))["config"])
        config = ConfigDict(_with_places(values))
        _fill_up(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not what training saves ({error}): name a --config") from error
    return config


def _with_tuples(value: Any) -> Any:
    """JSON has lists where configs have tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _with_places(value: Any) -> Any:
    """What was unset can still be set: a value of any type."""
    if isinstance(value, dict):
        return {key: _with_places(item) for key, item in value.items()}
    return config_dict.placeholder(object) if value is None else value


def _fill_up(config: ConfigDict) -> None:
    for section, values in default.get_config().items():
        if section not in config:
            config[section] = values
        elif isinstance(values, ConfigDict) and section not in _OWN_KEYS:
            newer = {key: value for key, value in values.items() if key not in config[section]}
            config[section].update(newer)


# ── From the command line. ──────────────────────────────────────────────────────────────────────


def override(config: ConfigDict, items: Sequence[str]) -> list[str]:
    """Sets `--config.key=value` arguments in the config, which is locked then.

    Returns what they changed: "config.eval.batch_rows: 32 → 8". Raises UserError naming the key,
    and the nearest one where there is none of that name.
    """
    config.lock()
    changes = []
    for key, words in _by_key(items).items():
        before = _value(config, key)
        _set(config, key, words)
        if (after := _value(config, key)) != before:
            changes.append(f"config.{key}: {before} → {after}")
    return changes


def work_out_again(config: ConfigDict, items: Sequence[str]) -> list[str]:
    """Sets back to 0 what a training worked out from a value that `items` set, and keeps in its
    config, where they do not set it as well; else that value would have no effect.

    Returns what changed, as `override` does.
    """
    given = _by_key(items)
    changes = []
    for source, found in _WORKED_OUT.items():
        if source in given and found not in given and (before := _value(config, found)):
            config_path.set_value(found, config, 0)
            changes.append(f"config.{found}: {before} → 0, worked out from config.{source}")
    return changes


def _by_key(items: Sequence[str]) -> dict[str, list[str]]:
    """Arguments by the key that they set: one, or a key and its value behind a space."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for item in items:
        if match := _OVERRIDE.match(item):
            words = found.setdefault(match[1], [])
        words.append(item)
    return found


def _value(config: ConfigDict, key: str) -> Any:
    try:
        return config_path.get_value(key, config)
    except (KeyError, AttributeError, IndexError, TypeError, ValueError):
        raise UserError(f"config.{key}: no such key{_hint(config, key)}") from None


def _hint(config: ConfigDict, key: str) -> str:
    """What was meant: a neighbour, a key of that name in another section, or one of those there."""
    keys = _keys(config)
    above, _, last = key.rpartition(".")
    beside = [name.rpartition(".")[2] for name in keys if name.rpartition(".")[0] == above]
    if near := did_you_mean(last, beside, f"{above}." if above else ""):
        return near
    elsewhere = [name for name in keys if name.rpartition(".")[2] == last]
    if near := did_you_mean(key, elsewhere):
        return near
    if beside and above:
        return f"; config.{above} has {', '.join(beside)}"
    return did_you_mean(key, keys) or f"; config has {', '.join(config)}"


def _keys(config: ConfigDict, prefix: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, ConfigDict):
            found += _keys(value, f"{prefix}{key}.")
    return found


def _set(config: ConfigDict, key: str, words: Sequence[str]) -> None:
    values = flags.FlagValues()
    values.set_gnu_getopt()
    argv = ["config", *words]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        left = values(argv)[1:]
    except (flags.IllegalFlagValueError, TypeError, ValueError) as error:
        kind = config_path.get_type(key, config)
        given = words[-1].partition("=")[2] if "=" in words[-1] else words[-1]
        wanted = _EXPECTED.get(kind, f"a value of type {kind.__name__}")
        raise UserError(f"config.{key} = {given!r}: expected {wanted}") from error
    except flags.Error as error:
        raise UserError(f"config.{key}: {error}") from error
    if left:
        raise UserError(f"{left[0]!r} belongs to no flag; config.{key} has its value already")
