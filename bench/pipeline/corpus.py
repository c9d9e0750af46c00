"""A small corpus for timing the input pipeline: real footage, questions that need few or many
frames, prepared with the hybrid frame budget for Qwen2.5-VL."""

import json
from pathlib import Path

from bench.decode.clips import FPS, encode
from input_pipeline.index import DatasetSpec, ExampleStore, IndexSpec, prepare
from tests.parity.qwen_files import write_tokenizer
from vsft_jax.models.qwen2_5_vl.layout import Layout

# (width, height, seconds, frames from one key frame to the next) of the clips: mostly what video
# sites serve, where a key frame comes every few seconds.
CLIPS = (
    (1280, 720, 10, 30),
    (1280, 720, 20, 250),
    (1280, 720, 60, 250),
    (854, 480, 15, 60),
    (640, 360, 30, 250),
    (640, 360, 90, 250),
)
QUESTIONS = {
    "What colour is the bus?": "Red.",
    "Who is in the video?": "A man and a rabbit.",
    "What is the weather like?": "Sunny.",
    "Is there a bridge?": "Yes.",
    "What is the man wearing?": "A suit.",
    "Where does this take place?": "In a street and in a car.",
    "What is written on the sign?": "Nothing.",
    "What kind of animal is it?": "A rabbit.",
    "Which way do the bikes go?": "To the left.",
    "What does the man do?": "He talks.",
    "What happens after the rabbit wakes up?": "It stretches and looks around.",
    "How many bikes go by?": "Four.",
    "Describe the video in detail.": "Bikes go by in a street. Then a rabbit comes out of its "
    "burrow, stretches in the sun and looks around. In the end a man talks in a moving car.",
}
ROW_TOKENS, ROW_PATCHES = 8192, 4 * 7168
UNIT = 28 * 28


class Corpus:
    """tokenizer: its directory. layout: the rules. store: the prepared examples."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = write_tokenizer(folder / "tokenizer")
        self.layout = Layout(image_max_pixels=1280 * UNIT, video_total_pixels=7168 * UNIT)
        records = []
        for width, height, seconds, gop in CLIPS:
            name = f"{width}x{height}_{seconds}s_g{gop}.mp4"
            if not (folder / name).exists():
                print(f"making {folder / name} ...", flush=True)
                encode(folder / f"partial_{name}", seconds * FPS, gop, width, height)
                (folder / f"partial_{name}").rename(folder / name)
            records += [
                {"id": f"{name}/{i}", "video": name, "question": question, "answer": answer}
                for i, (question, answer) in enumerate(QUESTIONS.items())
            ]
        annotations = folder / "questions.jsonl"
        annotations.write_text("".join(json.dumps(record) + "\n" for record in records))
        frames = {"kind": "hybrid", "candidates": [8, 16, 32, 64]}
        spec = IndexSpec(str(self.tokenizer), self.layout, frames, ROW_TOKENS, ROW_PATCHES)
        dataset = DatasetSpec("bench", str(annotations), str(folder))
        path, _ = prepare(dataset, spec, folder / "index")
        self.store = ExampleStore.open(path)
