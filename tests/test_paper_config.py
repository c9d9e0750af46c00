"""The config of the paper's study is whole, and plans what its docstring says."""

from pathlib import Path

from configs.studies import paper
from evaluation.run_study import plan_cells
from input_pipeline.frame_budget import canonical_spec, resolve_spec
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
