"""Answers a second against transformers' generate, asked one question at a time as by lmms-eval:

    python -m bench.evaluate [--rounds 5] [--clips 20] [--torch-threads 1]

Three questions about each clip are answered by a letter and the token that ends it (two tokens), or
here by the likeliest of the options' letters alone; one about each clip is answered at length (64
tokens). Both sides have the same random weights in float32, the same frames at the same size,
decoded by this repository's decoder, and take turns. What is timed is everything from the question
to its answer: ours probes and lays out the clips anew, too. Loading and compiling are not timed.
Written answers are compared token by token; those about clips of 8 seconds may differ, since
transformers 5 lets the text go on before such a clip's last position, and this repository behind
it, as the model was trained.

On a machine that others use too, torch's threads spin while they wait for each other, which counts
as CPU time: give it one thread there.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from bench.decode.clips import FPS, SMALL, encode
from bench.evaluate_torch import OneByOne, write_model
from configs import qwen2_5_vl
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import ExampleStore, lay_out
from vsft_jax.config import Run
from vsft_jax.inference import LoadedModel, answer, load_model, option_tokens

FRAMES = 4  # so that a pair of them stands for 1, 2 or 4 seconds
OPTIONS = "A. A street.\nB. A meadow.\nC. A car.\nD. A bridge."
LETTER = "Answer with the option's letter from the given choices directly."
CHOICE = (
    f"Where does the clip begin?\n{OPTIONS}\n{LETTER}",
    f"Which of these comes last in the clip, after everything else?\n{OPTIONS}\n{LETTER}",
    f"What is not shown at any moment?\n{OPTIONS}\n{LETTER}",
)
OPEN = ("Describe in detail what happens in this clip, from its beginning to its end.",)


class Kind(NamedTuple):
    """Questions asked about every clip, and the tokens of an answer. likeliest: here by the options
    alone."""

    name: str
    questions: Sequence[str]
    tokens: int
    likeliest: bool = False


KINDS = (
    Kind("a letter", CHOICE, 2),
    Kind("a letter, here the likeliest", CHOICE, 2, likeliest=True),
    Kind("64 tokens", OPEN, 64),
)


class Took(NamedTuple):
    """Seconds, and the answers by question."""

    wall: float
    cpu: float
    answers: dict[str, Sequence[int]]


def main() -> None:
    """Lets the two sides take turns and prints rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--kinds", type=int, nargs="*", default=range(len(KINDS)), help="0, 1, 2")
    parser.add_argument("--torch-threads", type=int, help="by default as many as cores")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "eval-bench")
    options = parser.parse_args()
    if options.torch_threads:
        torch.set_num_threads(options.torch_threads)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    clips = write_clips(options.folder, options.clips)
    directory = write_model(options.folder / "model")
    config = qwen2_5_vl.get_config(f"path={directory},frames={FRAMES}")
    config.model.update(dtype="float32", remat="none")
    config.layout.update(video_max_pixels=SMALL[0] * SMALL[1], time_mode="hf_int")
    config.layout.update(row_tokens=2048, row_patches=8192)
    config.data.decoder = "threads"
    run = Run(config, options.folder / "run")
    model, theirs = load_model(run), OneByOne(directory)
    for kind in [KINDS[place] for place in options.kinds]:
        examples = [
            Example(f"{clip.stem}/{i}", "bench", (Turn("user", (MediaRef("video", str(clip)), q)),))
            for clip in clips
            for i, q in enumerate(kind.questions)
        ]
        compare(run, model, theirs, examples, kind, options.rounds)


def compare(
    run: Run,
    model: LoadedModel,
    theirs: OneByOne,
    examples: Sequence[Example],
    kind: Kind,
    rounds: int,
) -> None:
    """Rounds of both sides over questions of one kind."""
    run = run.with_settings(eval={"max_new_tokens": kind.tokens})
    prompts = laid_out(run, examples)
    ours_once = timed(lambda: ours(run, model, examples, kind))
    theirs(*prompts[0], kind.tokens)
    print(
        f"\nAnswers of {kind.name}, {len(examples)} questions about "
        f"{len(examples) // len(kind.questions)} clips, {prompts.tokens.mean():.0f} tokens of "
        f"prompt; compiling took {ours_once.wall:.0f} s"
    )
    ratios = []
    for _ in range(rounds):
        here = timed(lambda: ours(run, model, examples, kind))
        there = timed(
            lambda: {
                prompts[i][0].id: theirs(*prompts[i], kind.tokens) for i in range(len(prompts))
            }
        )
        same = sum(list(here.answers[name]) == list(ids) for name, ids in there.answers.items())
        agree = "" if kind.likeliest else f"; {same} of {len(examples)} answers the same"
        ratios.append((there.wall / here.wall, there.cpu / here.cpu))
        print(
            f"this repository {len(examples) / here.wall:.2f} answers/s and "
            f"{here.cpu / len(examples):.2f} s of CPU each, transformers "
            f"{len(examples) / there.wall:.2f} and {there.cpu / len(examples):.2f}: "
            f"{ratios[-1][0]:.2f} times as many, {ratios[-1][1]:.2f} by CPU time{agree}",
            flush=True,
        )
    wall, cpu = map(statistics.median, zip(*ratios, strict=True))
    print(f"median of {rounds} rounds: {wall:.2f} times as many, {cpu:.2f} by CPU time")


def laid_out(run: Run, examples: Sequence[Example]) -> ExampleStore:
    """The prompts with their frames and sizes."""
    return lay_out(examples, run.index_spec(run.config.frames.to_dict()), mode="prompt")


def ours(
    run: Run, model: LoadedModel, examples: Sequence[Example], kind: Kind
) -> dict[str, Sequence[int]]:
    """Answers as an evaluation asks for them."""
    store = laid_out(run, examples)
    options = []
    if kind.likeliest:
        options = [list(option_tokens("ABCD", model.tokenizer).values())] * len(examples)
    said = answer(run, model, store, many=True, options=options)
    return {examples[each.index].id: each.token_ids for each in said}


def timed(work: Callable[[], dict[str, Sequence[int]]]) -> Took:
    """Time on the wall and on all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    answers = work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu, answers)


def write_clips(folder: Path, count: int) -> list[Path]:
    """Clips of 2, 4 and 8 seconds of real footage in 720p, made once. A pair of frames then stands
    for whole seconds: transformers 5 drops the fraction."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for i in range(count):
        path = folder / f"{i:03d}.mp4"
        if not path.exists():
            encode(folder / f"partial_{i}.mp4", 2 ** (1 + i % 3) * FPS, 60)
            (folder / f"partial_{i}.mp4").rename(path)
        found.append(path)
    return found


if __name__ == "__main__":
    main()
