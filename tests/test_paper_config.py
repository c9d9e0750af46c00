"""The config of the paper's study is whole, and plans what its docstring says."""

from pathlib import Path

import pytest

from configs.studies import paper
from evaluation.report.read_study import read_study
from evaluation.run_study import run_study
from evaluation.study import plan_cells
from input_pipeline.frame_budget import canonical_spec, resolve_spec
from tests.conftest import devices
from tests.evaluation.benchmarks.official_files import WRITERS
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.config import Run
from vsft_jax.config.checks import check_study


def test_the_papers_study_is_seven_policies_by_three_seeds_on_eight_benchmarks(tmp_path):
    config = paper.get_config("annotations=a.json,media_root=v,benchmark_root=/bench")
    run = Run(config, tmp_path)  # which checks the config
    check_study(config)
    assert run.architecture.text.width == 3584, "of the 7B model"
    kinds = [entry.modality for entry in config.data.benchmarks.values()]
    assert sorted(kinds) == ["image"] * 4 + ["video"] * 4
    clips = [(999, n) for n in paper.COUNTS]
    specs = [
        canonical_spec(resolve_spec(each.to_dict(), lambda _: clips))
        for each in config.study.frames.values()
    ]
    planned = plan_cells(config, Path(tmp_path), specs)
    assert len(planned) == 1 + 7 * 3
    base, *tuned = planned
    assert len(base.asked) == 7, "the fixed counts are among the policies"
    assert {len(each.asked) for each in tuned} == {4, 5}
    assert all(each.trained and each.model_of is None for each in tuned)
    released = plan_cells(paper.get_config("path=/m,annotations=a.json"), Path(tmp_path), specs)
    assert not released[0].trained and released[0].cell.start == "released"


@pytest.fixture(scope="module")
def miniature(world, tmp_path_factory):
    """The config with its published names filled in: a model of random weights as transformers
    writes one, clips of the demo world to train on, and the eight benchmarks in their publishers'
    formats. What is small beside is no choice of the paper's."""
    folder = tmp_path_factory.mktemp("paper")
    model = folder / "model"
    model.mkdir()
    write_model(model)
    for name in paper.BENCHMARKS.split("+"):
        write, place = WRITERS[name]
        (folder / "bench" / place).mkdir(parents=True)
        write(folder / "bench" / place)
    config = paper.get_config(
        f"path={model},benchmark_root={folder / 'bench'},"
        f"annotations={world / 'world/train/videos.json'},media_root={world / 'world'}"
    )
    config.model.update(dtype="float32", remat="none", size="")
    config.layout.update(row_tokens=1024, row_patches=2048, image_max_pixels=56 * 56)
    config.layout.update(video_min_pixels=28 * 28, video_max_pixels=56 * 56)
    config.data.decoder = "threads"
    config.train.update(epochs=0.0, steps=1, batch_rows=2, batch_examples=0, loss_chunk=512)
    config.eval.update(batch_rows=64, max_new_tokens=1)
    config.study.update(infer_frames=(), seeds=(0,))
    with config.unlocked():
        for name in ("16", "32", "64", "random", "typed"):
            del config.study.frames[f"frames_{name}"]
    return config


def test_the_papers_study_in_miniature(miniature, tmp_path):
    """From a released model and official files to the report."""
    assert set(miniature.study.frames) == {"frames_08", "frames_hybrid"}
    with devices(1):
        report = run_study(Run(miniature, tmp_path))
    study = read_study(tmp_path)
    assert not study.problems and report.stat().st_size > 0
    assert [model.cell.name for model in study.models] == ["base", "fixed-8-seed0", "hybrid-seed0"]
    text = (tmp_path / "report.md").read_text()
    for name in paper.BENCHMARKS.split("+"):
        assert name in text
