"""Which file's template is used, and files that hold none."""

import json

import pytest

from input_pipeline.text.template_files import TemplateFileError, read_template


def write(directory, **files):
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def test_the_first_file_that_has_one(tmp_path):
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "last"}]
    write(tmp_path, tokenizer_config__json=json.dumps({"chat_template": named}))
    assert read_template(tmp_path) == ("last", str(tmp_path / "tokenizer_config.json"))
    write(tmp_path, chat_template__json=json.dumps({"chat_template": "second"}))
    assert read_template(tmp_path) == ("second", str(tmp_path / "chat_template.json"))
    write(tmp_path, chat_template__jinja="first")
    assert read_template(tmp_path) == ("first", str(tmp_path / "chat_template.jinja"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "wanted a JSON object"),
        ('{"chat_template": 3}', "is no text"),
        (json.dumps({"chat_template": "x" * (2**20 + 1)}), "1,048,577 characters"),
    ],
)
def test_files_that_hold_no_template_are_named(text, fault, tmp_path):
    write(tmp_path, chat_template__json=text)
    with pytest.raises(TemplateFileError, match=f"chat_template.json: .*{fault}"):
        read_template(tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateFileError, match="chat_template.jinja cannot be read"):
        read_template(tmp_path)


def test_no_template_at_all(tmp_path):
    with pytest.raises(TemplateFileError, match="expected chat_template.jinja"):
        read_template(tmp_path)
