"""Hugging Face models: their directories, and parameters to and from transformers' tensors.

In: a directory or hub id, and a family's table of tensors. Out: its files' content, and parameters
in their places on the devices; on the way back, tensors one by one and a safetensors file.
"""

from vsft_jax.huggingface.files import (
    INDEX,
    WEIGHTS,
    HFError,
    SafetensorsReader,
    local_directory,
    model_fingerprint,
    read_json,
    write_safetensors,
)
from vsft_jax.huggingface.load import load_on_one_device, load_params
from vsft_jax.huggingface.tensors import hf_tensors, parameter_shapes, tensor_shapes

__all__ = [
    "INDEX",
    "WEIGHTS",
    "HFError",
    "SafetensorsReader",
    "model_fingerprint",
    "hf_tensors",
    "load_on_one_device",
    "load_params",
    "local_directory",
    "parameter_shapes",
    "read_json",
    "tensor_shapes",
    "write_safetensors",
]
