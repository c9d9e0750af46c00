"""Picture questions asked about a clip that is the same picture over and over.

    python -m evaluation.diagnostics.replicated test/images.jsonl test/images_x8.jsonl --frames 8

A model whose image skill is spoilt by the form of clips, and not by what is in them, loses here
what it keeps on the pictures themselves. Of Qwen2.5-VL-7B a digest of arXiv 2603.17541 has MME
falling from 2360 with 8 copies to 2272 with 64. The clips are lists of picture files; no file is
copied.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from input_pipeline.files import write_atomically


def replicated(record: dict[str, Any], frames: int) -> dict[str, Any]:
    """A LLaVA record about one image as one about a clip of so many copies of it.

    Raises ValueError for a record that is not about one image.
    """
    image, turns = record.get("image"), record.get("conversations", [])
    tags = [turn["value"].count("<image>") for turn in turns]
    if not isinstance(image, str) or sum(tags) != 1:
        raise ValueError(f"record {record.get('id')!r} is not about one image")
    asked = [turn | {"value": turn["value"].replace("<image>", "<video>")} for turn in turns]
    rest = {key: value for key, value in record.items() if key != "image"}
    return {**rest, "video": [image] * frames, "conversations": asked}


def replicate(annotations: Path, out: Path, frames: int) -> int:
    """Writes a JSONL file of LLaVA records with images as clips; returns how many."""
    lines = annotations.read_text(encoding="utf-8").splitlines()
    records = [replicated(json.loads(line), frames) for line in lines if line.strip()]
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_atomically(out, text)
    return len(records)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m evaluation.diagnostics.replicated")
    parser.add_argument("annotations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, required=True)
    given = parser.parse_args()
    count = replicate(given.annotations, given.out, given.frames)
    print(f"{given.out}: {count} questions about clips of {given.frames} times one picture")
