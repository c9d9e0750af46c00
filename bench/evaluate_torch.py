"""The other side of `bench.evaluate`: transformers' generate, one question at a time as lmms-eval
asks Qwen2.5-VL, and the model that both sides have."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.decode.methods import qwen_vision_process
from input_pipeline.examples import Example
from input_pipeline.layout import ExampleLayout
from input_pipeline.media import Decoder
from tests.parity.qwen_files import write_tokenizer

# Between a 3B model and one that two cores can be asked 60 questions with: the proportions of tower
# to language model are about Qwen2.5-VL-3B's, and the vocabulary is the real one.
NUMBERS: dict[str, Any] = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": True,
    "text_config": {
        "vocab_size": 151936,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [8, 12, 12],
        },
    },
    "vision_config": {
        "depth": 8,
        "hidden_size": 320,
        "intermediate_size": 864,
        "num_heads": 4,
        "out_hidden_size": 512,
        "fullatt_block_indexes": [3, 7],
    },
}


def write_model(folder: Path) -> Path:
    """A Hugging Face directory with random weights, the same each time; made once."""
    if not (folder / "config.json").exists():
        qwen_vision_process()  # makes torchvision work, which transformers imports
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        write_tokenizer(folder)
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**NUMBERS))
        # Larger than they begin in training, so that answers depend on what is asked and seen.
        for name, value in model.named_parameters():
            if value.ndim > 1 and "embed_tokens" not in name:
                value.data *= 2
        model.save_pretrained(folder)
    return folder


class OneByOne:
    """transformers' model with its processor. Frames are those that this repository shows, decoded
    by its decoder, anew for every question."""

    def __init__(self, directory: Path):
        qwen_vision_process()  # makes torchvision work, which transformers imports
        from transformers import Qwen2_5_VLForConditionalGeneration

        self._directory = directory
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self._decoder = Decoder()

    @functools.cached_property
    def _processor(self) -> Any:
        from transformers import AutoTokenizer
        from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
        from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

        tokenizer = AutoTokenizer.from_pretrained(self._directory)
        return Qwen2_5_VLProcessor(
            image_processor=Qwen2VLImageProcessor(),
            video_processor=Qwen2VLVideoProcessor(do_resize=False, do_sample_frames=False),
            tokenizer=tokenizer,
            chat_template=tokenizer.chat_template,
        )

    def __call__(self, example: Example, layout: ExampleLayout, new_tokens: int) -> Sequence[int]:
        """So many tokens of answer to a question about one clip."""
        from transformers.video_utils import VideoMetadata

        (ref,), (medium,) = example.media, layout.media
        size = (medium.height, medium.width)
        frames = self._decoder.frames(ref, medium.frame_indices, size)
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "video"}
            for part in example.turns[0].parts
        ]
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        fps = 1 / medium.interval
        metadata = VideoMetadata(
            total_num_frames=len(frames), fps=fps, frames_indices=list(range(len(frames)))
        )
        inputs = self._processor(
            text=[text],
            videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)],
            video_metadata=[metadata],
            return_tensors="pt",
        )
        with torch.inference_mode():
            ids = self._model.generate(
                **inputs, do_sample=False, min_new_tokens=new_tokens, max_new_tokens=new_tokens
            )
        return ids[0, inputs["input_ids"].shape[1] :].tolist()
