"""transformers' step with PyTorch's SDPA and fused AdamW: examples padded to a batch, or one at a
time with gradients that add up."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from bench.train_step.mixed_row import Example, Shape, answer_tokens
from tests.parity.reference import hf_inputs
from vsft_jax.models.qwen2_5_vl.config import ModelConfig

Inputs = dict[str, torch.Tensor]


class Theirs:
    """The model and its optimiser. Parameters are float32; `shape.dtype` is that of products."""

    def __init__(self, shape: Shape, threads: int | None):
        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {**shape.hf, "attn_implementation": "sdpa"}
        self.model: Any = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**options))
        torch.nn.Module.to(self.model, self.device).train()
        if shape.remat == "full":
            self.model.gradient_checkpointing_enable()
        self._dtype = getattr(torch, shape.dtype)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-5, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """A copy of the model's tensors."""
        return {k: v.cpu().numpy().copy() for k, v in self.model.state_dict().items()}

    def reset(self, weights: dict[str, np.ndarray]) -> None:
        """Gives the model these tensors."""
        self.model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})

    def stepper(
        self, config: ModelConfig, given: Sequence[Example], *, padded: bool
    ) -> Callable[[], float]:
        """Takes a step on the examples and returns its loss. All of them step one model."""
        each = [_with_labels(config, example) for example in given]
        batches = [_padded(each)] if padded else each
        batches = [{k: v.to(self.device) for k, v in batch.items()} for batch in batches]
        count = sum(map(answer_tokens, given))
        return lambda: self._step(batches, count)

    def _step(self, batches: Sequence[Inputs], count: int) -> float:
        total = 0.0
        for batch in batches:
            with torch.autocast(self.device, self._dtype, self._dtype != torch.float32):
                loss = self.model(**batch, use_cache=False, num_items_in_batch=count).loss
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(total)


def _with_labels(config: ModelConfig, example: Example) -> Inputs:
    """One example; labels are -100 but for its answer, and transformers shifts them."""
    inputs = hf_inputs(config, list(example))
    labels = inputs["input_ids"].clone()
    labels[:, : -answer_tokens(example)] = -100
    return {**inputs, "labels": labels}


def _padded(each: Sequence[Inputs]) -> Inputs:
    """All examples as rows as long as the longest; media one behind the other."""
    longest = max(inputs["input_ids"].shape[1] for inputs in each)
    out: Inputs = {}
    for name in {name: None for inputs in each for name in inputs}:
        parts = [inputs[name] for inputs in each if name in inputs]
        if name in ("input_ids", "attention_mask", "mm_token_type_ids", "labels", "position_ids"):
            fill = -100 if name == "labels" else 0
            pad = torch.nn.functional.pad
            parts = [pad(x, (0, longest - x.shape[-1]), value=fill) for x in parts]
        out[name] = torch.cat(parts, dim=1 if name == "position_ids" else 0)
    return out
