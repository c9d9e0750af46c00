"""The other side of `bench.pipeline`, as a user of PyTorch writes it: a data set that calls
qwen-vl-utils and transformers' processor for each example, in a DataLoader."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from bench.decode.methods import qwen_vision_process
from bench.pipeline.corpus import Corpus
from input_pipeline.examples import Example
from input_pipeline.layout import ExampleLayout

if TYPE_CHECKING:
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor

Message = dict[str, Any]  # in the form that qwen-vl-utils reads
Tensors = dict[str, torch.Tensor]


def torch_batches(corpus: Corpus, rows: Sequence[list[int]], workers: int) -> Iterable[Tensors]:
    """The same examples through a DataLoader, with its default of two batches ahead a worker."""
    messages = [_messages(*corpus.store[i]) for i in range(len(corpus.store))]
    return DataLoader(
        _Conversations(messages, corpus.tokenizer),
        batch_sampler=rows,
        collate_fn=_concatenate,
        num_workers=workers,
        multiprocessing_context="spawn",
    )


def _messages(example: Example, layout: ExampleLayout) -> list[Message]:
    """A conversation about one clip."""
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


class _Conversations(Dataset[Tensors]):
    """Examples as `Qwen2_5_VLProcessor` gives them."""

    def __init__(self, messages: Sequence[list[Message]], tokenizer: Path):
        self._messages, self._tokenizer = messages, tokenizer

    @functools.cached_property
    def _processor(self) -> "Qwen2_5_VLProcessor":
        """Made in the worker, once `qwen_vision_process` has made torchvision work."""
        from transformers import AutoTokenizer
        from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
        from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

        tokenizer = AutoTokenizer.from_pretrained(self._tokenizer)
        return Qwen2_5_VLProcessor(
            image_processor=Qwen2VLImageProcessor(),
            video_processor=Qwen2VLVideoProcessor(do_resize=False),
            tokenizer=tokenizer,
            chat_template=tokenizer.chat_template,
        )

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, i: int) -> Tensors:
        messages, vision_process = self._messages[i], qwen_vision_process()
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


def _concatenate(examples: Sequence[Tensors]) -> Tensors:
    """One batch: texts padded to the longest, pixels one after the other."""
    batch = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if values[0].shape == examples[0]["input_ids"].shape:
            batch[name] = pad_sequence([value[0] for value in values], batch_first=True)
        else:
            batch[name] = torch.cat([torch.as_tensor(value) for value in values])
    return batch
