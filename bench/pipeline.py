"""Examples a second from files to batches that a device can take, against a PyTorch DataLoader:

    python -m bench.pipeline [--workers 2] [--rounds 3] [--folder FOLDER]

Both decode the same frames of the same clips at the same size, tokenise the same conversations, and
give batches of the same examples, with as many worker processes. The other side is what a user of
PyTorch writes: a data set that calls qwen-vl-utils and transformers' processor for each example, in
a DataLoader that concatenates them. The two take turns. The first batches are not counted, so that
starting the workers is not either.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import logging

from bench.decode_methods import qwen_vision_process
from bench.pipeline_corpus import ROW_PATCHES, ROW_TOKENS, Corpus
from input_pipeline.batches import BatchPlan, RowShape, SourceSizes, make_batches
from input_pipeline.media import Decoder
from input_pipeline.text import ChatTokenizer


def main() -> None:
    """Lets the two sides take turns and prints the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pipe-bench")
    options = parser.parse_args()
    logging.set_verbosity(logging.INFO)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    corpus = Corpus(options.folder)
    rows = planned_rows(corpus)
    print(f"{len(corpus.store)} examples in {len(rows)} batches of one packed row")
    ratios = []
    for _ in range(options.rounds):
        here = rate(ours(corpus, rows, options.workers), rows, options.workers)
        there = rate(torch_loader(corpus, rows, options.workers), rows, options.workers)
        ratios.append(here / there)
        print(
            f"this repository {here:.2f} examples/s, DataLoader with qwen-vl-utils {there:.2f}: "
            f"{ratios[-1]:.2f} times as many",
            flush=True,
        )
    print(f"median of {len(ratios)} rounds: {statistics.median(ratios):.2f} times as many")


def planned_rows(corpus: Corpus) -> list[list[int]]:
    """The examples of each row of one epoch."""
    sizes = {"bench": SourceSizes(corpus.store.tokens, corpus.store.patches)}
    limits = {"max_tokens": ROW_TOKENS, "max_patches": ROW_PATCHES, "window": 4096}
    plan = BatchPlan(sizes, {"bench": 1.0}, batch_rows=1, seed=0, **limits)
    return [plan.local_rows(step, [0])[0].tolist() for step in range(plan.pack_plan(0).rows)]


def rate(batches: Iterable, rows: Sequence[Sequence[int]], workers: int) -> float:
    """Examples a second once every worker has given two batches."""
    start = None
    for place, _ in enumerate(batches, start=1):
        if place == 2 * workers:
            start = time.perf_counter()
    return sum(map(len, rows[2 * workers :])) / (time.perf_counter() - start)


def ours(corpus: Corpus, rows: Sequence[Sequence[int]], workers: int) -> Iterable:
    """The batches of `make_batches`."""
    decoder = Decoder(processes=workers)
    yield from make_batches(
        corpus.store,
        lambda step: [rows[step]],
        ChatTokenizer.load(corpus.tokenizer, corpus.layout.media_tokens),
        corpus.layout,
        RowShape(ROW_TOKENS, ROW_PATCHES),
        steps=len(rows),
        decoder=decoder,
        threads=workers,
    )
    decoder.close()


def torch_loader(corpus: Corpus, rows: Sequence[Sequence[int]], workers: int) -> Iterable:
    """The same examples through a DataLoader, with its default of two batches ahead a worker."""
    from torch.utils.data import DataLoader

    messages = [_messages(*corpus.store[i]) for i in range(len(corpus.store))]
    return DataLoader(
        _Conversations(messages, corpus.tokenizer),
        batch_sampler=rows,
        collate_fn=_concatenate,
        num_workers=workers,
        multiprocessing_context="spawn",
    )


def _messages(example, layout) -> list[dict]:
    """A conversation about one clip in the form that qwen-vl-utils reads."""
    (medium,) = layout.media
    wanted = {"resized_height": medium.height, "resized_width": medium.width}
    wanted["nframes"] = len(medium.frame_indices)
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "video", "video": part.path, **wanted}
                for part in turn.parts
            ],
        }
        for turn in example.turns
    ]


class _Conversations:
    """Examples as `Qwen2_5_VLProcessor` gives them."""

    def __init__(self, messages: Sequence[list[dict]], tokenizer: Path):
        self._messages, self._tokenizer = messages, tokenizer
        self._processor = None  # made in the worker

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, i: int) -> dict:
        vision_process = qwen_vision_process()
        self._processor = self._processor or _processor(self._tokenizer)
        messages = self._messages[i]
        _, videos, extra = vision_process.process_vision_info(
            messages, return_video_kwargs=True, return_video_metadata=True
        )
        clips, metadata = zip(*videos, strict=True)
        text = self._processor.apply_chat_template(messages, tokenize=False)
        inputs = self._processor(
            text=[text],
            videos=list(clips),
            video_metadata=list(metadata),
            return_tensors="pt",
            **extra,
        )
        return dict(inputs)


def _processor(tokenizer_dir: Path):
    from transformers import AutoTokenizer
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(do_resize=False),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )


def _concatenate(examples: Sequence[dict]) -> dict:
    """One batch: texts padded to the longest, pixels one after the other."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    batch = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if values[0].shape == examples[0]["input_ids"].shape:
            batch[name] = pad_sequence([value[0] for value in values], batch_first=True)
        else:
            batch[name] = torch.cat([torch.as_tensor(value) for value in values])
    return batch


if __name__ == "__main__":
    main()
