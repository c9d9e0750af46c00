"""DINOv2 as the encoder of a "similarity" frame policy."""

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import jax
import numpy as np
from flax import nnx

from input_pipeline.frame_budget import ModelError
from vsft_jax.huggingface import HFError, load_on_one_device, local_directory, model_fingerprint
from vsft_jax.models.dinov2 import DINOV2

SIDE = 224  # pixels, as in training at low resolution: 16 x 16 patches


class DinoEmbedder:
    """An `Embed`: the class token's feature of whole frames, for a "similarity" spec.

    Frames are resized to a square, so that nothing of the picture is cut off.
    """

    side = SIDE

    def __init__(self, spec: Mapping[str, Any]):
        """Raises ModelError where there is no such directory."""
        try:
            self._directory = local_directory(spec["path"])
        except HFError as error:
            raise ModelError(f"frame budget: 'path' of the similarity spec: {error}") from error
        self.identity = f"dinov2 {SIDE} {model_fingerprint(self._directory)}"
        self._lock = threading.Lock()

    @functools.cached_property
    def _model(self) -> Callable[[np.ndarray], jax.Array]:
        """Loaded under the lock. On one device: it is small, and process 0 works alone."""
        try:
            model = load_on_one_device(DINOV2, self._directory, attention="xla", remat="none")
            graphdef, params = nnx.split(model)
        except HFError as error:
            raise ModelError(f"frame budget: 'path' of the similarity spec: {error}") from error
        params = jax.device_put(params, jax.local_devices()[0])

        @jax.jit
        def features(params: nnx.State, images: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, params)(images)[:, 0]

        return functools.partial(features, params)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8[F, h, w, 3] -> float32[F, D]."""
        # Numbers of frames are rounded up, to compile for a few of them only.
        padded = np.zeros((1 << max(len(frames) - 1, 0).bit_length(), SIDE, SIDE, 3), np.uint8)
        for i, frame in enumerate(frames):
            padded[i] = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        with self._lock:
            found = self._model(padded)
        return np.asarray(found, np.float32)[: len(frames)]
