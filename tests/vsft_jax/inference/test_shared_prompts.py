"""Prompts that share their media are answered as each alone, in every family."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import lay_out
from tests.conftest import devices
from tests.input_pipeline.layout.test_patches import photograph
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.released_directories import write_directory
from tests.vsft_jax.test_exported_processors import config_of
from vsft_jax.config import Run
from vsft_jax.inference import LoadedModel, answer
from vsft_jax.inference.prompts import group_prompts
from vsft_jax.models import FAMILIES
from vsft_jax.parameters import path_string
from vsft_jax.sharding import make_mesh, shardings

LAYOUT = {
    "qwen2_5_vl": {"image_max_pixels": 20_000, "video_max_pixels": 10_000},
    "qwen3_vl": {"image_min_pixels": 1024, "image_max_pixels": 20_000, "video_max_pixels": 10_000},
    "qwen3_5": {"image_min_pixels": 1024, "image_max_pixels": 20_000, "video_max_pixels": 10_000},
    "llava_1_5": {},
    "llava_next_video": {"image_max_tiles": 2},
    "llava_onevision": {"image_max_tiles": 1},
    "smolvlm": {"image_split": False},
    "gemma4": {"image_tokens": 70},
}
ASKED = (
    ("a", "What happens?"),
    ("a", "What happens first, and what after that?"),
    ("b", "What happens?"),
    ("p", "Which colour is it?"),
    ("a", "How many?"),
    ("", "What is a ball?"),
    ("pa", "Is the picture from the clip?"),
    ("p", "Is it round? Answer yes or no."),
    ("pa", "What is the same in both?"),
    ("ap", "What is the same in both?"),
)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    root = tmp_path_factory.mktemp("media")
    Image.fromarray(photograph()[:300, :200]).save(root / "p.png")
    write_clip(root / "a.mp4", 20, fps=10, size=(192, 128))
    write_clip(root / "b.mp4", 12, fps=10, size=(128, 128))
    return {
        "a": MediaRef("video", str(root / "a.mp4")),
        "b": MediaRef("video", str(root / "b.mp4")),
        "p": MediaRef("image", str(root / "p.png")),
    }


def _model(run):
    """Random weights, large enough that what is seen and asked decides."""
    graphdef, params = nnx.split(run.family.model(run.model_config, rngs=nnx.Rngs(4)))
    return LoadedModel(
        graphdef=graphdef,
        params=jax.tree_util.tree_map_with_path(_larger, params),
        mesh=make_mesh(run.config.mesh),
        tokenizer=run.tokenizer,
        frame_policy=None,
        step=0,
        trained_config={},
        source=run.workdir,
    )


def _larger(path, x):
    """Three times as large, also where a norm's scale is counted from 1."""
    if path_string(path).endswith("norm/scale") and not x.any():
        return x + 2
    return 3 * x if x.ndim > 1 else x


def _asked(family, media, tmp_path, **mesh):
    """A run, and what is asked in it."""
    config = config_of(family, write_directory(family, tmp_path / "model"), **LAYOUT[family])
    config.eval.update(batch_rows=4, max_new_tokens=4)
    config.mesh.update(mesh)
    run = Run(config, tmp_path)
    examples = [
        Example(str(i), "mine", (Turn("user", (*(media[m] for m in names), text)),))
        for i, (names, text) in enumerate(ASKED)
    ]
    spec = run.index_spec({"kind": "fixed", "frames": 4})
    return run, lay_out(examples, spec, mode="prompt")


@pytest.mark.parametrize("mesh", [(2, 2, 2), (1, 2, 4)])
def test_states_of_texts_lie_on_several_devices(mesh, media, tmp_path):
    """Of two groups of heads, "tensor" takes one each or divides none."""
    found = []
    for shape in ((1, 1, 1), mesh):
        axes = dict(zip(("data", "fsdp", "tensor"), shape, strict=True))
        run, store = _asked("qwen3_5", media, tmp_path, **axes)
        with devices(int(np.prod(shape))):
            model = _model(run)
            places = shardings(model.params, run.family.partition_rules(), model.mesh)
            model = dataclasses.replace(model, params=jax.device_put(model.params, places))
            found.append({each.index: each for each in answer(run, model, store, many=True)})
    assert len({tuple(each.token_ids) for each in found[0].values()}) > len(ASKED) // 2
    for index, each in found[0].items():
        assert each.token_ids == found[1][index].token_ids
        np.testing.assert_allclose(each.logprobs, found[1][index].logprobs, atol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_beginnings_change_no_token(family, media, tmp_path):
    run, store = _asked(family, media, tmp_path)
    with devices(1):
        model = _model(run)
        alone = {each.index: each for each in answer(run, model, store)}
        together = {each.index: each for each in answer(run, model, store, many=True)}
    assert alone.keys() == together.keys() == set(range(len(ASKED)))
    assert len({tuple(each.token_ids) for each in alone.values()}) > len(ASKED) // 2
    for index, each in alone.items():
        assert each.token_ids == together[index].token_ids
        np.testing.assert_allclose(each.logprobs, together[index].logprobs, atol=2e-3)
    groups = group_prompts(store, run.tokenizer, run.layout, share=True)
    shared = [tuple(ending.index for ending in group.endings) for group in groups]
    assert shared == [(0, 1, 4), (2,), (3, 7), (5,), (6, 8), (9,)]
