"""Where a checkpoint keeps its chat template."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline.errors import UserError

_LARGEST_BYTES = 2**20  # of a template; released ones have a few thousand
_JSON_FILES = ("chat_template.json", "tokenizer_config.json")


class TemplateFileError(UserError, ValueError):
    """A file of a tokenizer directory that cannot be read; the message names it."""


class TemplateFile(NamedTuple):
    """source: in Jinja. path: the file in which it stands."""

    source: str
    path: str


def read_template(directory: Path) -> TemplateFile:
    """A checkpoint's template: chat_template.jinja, or the key "chat_template" of
    chat_template.json or tokenizer_config.json, the first found, as transformers looks for it.

    Raises TemplateFileError where there is none, or one that is no text or too long.
    """
    path = directory / "chat_template.jinja"
    if path.is_file():
        return _checked(_text(path), path)
    for path in (directory / name for name in _JSON_FILES):
        template = read_json(path).get("chat_template")
        if isinstance(template, list):  # [{"name": "default", "template": …}, …]
            named = {e.get("name"): e.get("template") for e in template if isinstance(e, dict)}
            template = named.get("default")
        if template is not None:
            return _checked(template, path)
    raise TemplateFileError(
        f"no chat template in {directory}: expected chat_template.jinja, chat_template.json "
        'or the key "chat_template" of tokenizer_config.json'
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises TemplateFileError naming a file that holds something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise TemplateFileError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise TemplateFileError(f"{path}: wanted a JSON object, found {str(found)[:60]}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateFileError(f"{path} cannot be read: {error}") from error


def _checked(template: Any, path: Path) -> TemplateFile:
    if not isinstance(template, str):
        raise TemplateFileError(f"{path}: the chat template is no text: {str(template)[:60]}")
    if len(template) > _LARGEST_BYTES:
        raise TemplateFileError(
            f"{path}: a chat template of {len(template):,} characters; at most {_LARGEST_BYTES:,}"
        )
    return TemplateFile(template, str(path))
