"""Official benchmarks become annotation files: once, whole, and never with what is not there."""

import json
import logging

import pyarrow.parquet as pq
import pytest
from ml_collections import ConfigDict

from configs import common, tiny
from evaluation.benchmarks import BenchmarkError, official_metrics, write_official
from evaluation.benchmarks.catalogue import find_benchmark
from evaluation.benchmarks.folders import find_folders, revision_of
from evaluation.results import Prediction
from input_pipeline.annotations import Rejected, read_annotations
from input_pipeline.examples import Example
from tests.evaluation.benchmarks import official_files as files
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError


@pytest.fixture(autouse=True)
def no_hub_cache(monkeypatch, tmp_path):
    """Nothing is found in the home directory."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))


def run_of(tmp_path, words: str, **entry) -> Run:
    config = tiny.get_config()
    config.data.benchmarks = common.official_benchmarks(words)
    for name in config.data.benchmarks:
        config.data.benchmarks[name].update(entry)
    config.data.benchmark_root = "official"
    config.data.root = str(tmp_path)
    return Run(config, tmp_path / "run")


def examples(run: Run) -> list[Example]:
    (dataset,) = run.benchmarks
    found = list(read_annotations(dataset.annotations, dataset.media_root, "x", dataset.format))
    assert not any(isinstance(each, Rejected) for each in found)
    return found


def test_questions_are_records_like_any_other(tmp_path):
    files.videommmu(tmp_path / "official/VideoMMMU")
    run = run_of(tmp_path, "videommmu")
    write_official(run)
    found = {each.id: each for each in examples(run)}
    asked = found["Adaptation/validation_Math_2"]
    zip_, record = (medium.path for medium in asked.media)
    assert zip_.endswith("/official/VideoMMMU/Science.zip::Science/validation_Math_2.mp4")
    assert record.startswith("record:") and record.endswith(".parquet#0/image/bytes")
    assert asked.meta["choices"] == {"A": "1 m", "B": "2 m", "C": "3 m"}
    assert asked.meta["cluster"] == "validation_Math_2" and asked.turns[-1].text == "B"


def test_a_file_is_written_again_when_something_changed(tmp_path):
    folder = tmp_path / "official/MME"
    files.mme(folder)
    run = run_of(tmp_path, "mme")
    write_official(run)
    (path,) = (run.index_dir / "official").glob("*.jsonl")
    said = json.loads(path.with_suffix(".source.json").read_text())
    assert (said["questions"], said["published"], said["revisions"]) == (28, 2374, [""])
    path.write_text("mine")
    write_official(run)
    assert path.read_text() == "mine"
    path.unlink()
    write_official(run)
    assert len(examples(run)) == 28
    for shard in folder.glob("data/*"):
        shard.unlink()
    files.table(folder / "data/test-00000-of-00001.parquet", files.mme_rows(["OCR", "count"]))
    write_official(run)
    assert len(examples(run)) == 4


def test_other_options_and_roots_have_files_of_their_own(tmp_path):
    paths = set()
    for changes in ({}, {"options": ConfigDict({"subtitles": "all"})}, {"partial": True}):
        run = run_of(tmp_path, "videomme", **changes)
        paths.add(run.benchmarks[0].annotations)
    moved = run.config.copy_and_resolve_references()
    moved.data.benchmark_root = "/elsewhere"
    paths.add(Run(moved, run.workdir).benchmarks[0].annotations)
    assert len(paths) == 4


def test_what_is_not_there_is_named_with_what_to_fetch_to_where(tmp_path):
    run = run_of(tmp_path, "mme")
    with pytest.raises(BenchmarkError) as caught:
        write_official(run)
    assert str(caught.value).splitlines() == [
        f"MME: there is no folder of it in {tmp_path}/official; names: lmms-lab-encoder/MME, "
        "lmms-lab/MME, with or without the owner",
        "fetch data/test-*.parquet (864 MB): hf download --repo-type dataset lmms-lab-encoder/MME "
        f"--local-dir {tmp_path}/official/MME",
        "and name the folder above it: config.data.benchmark_root",
    ]
    (tmp_path / "official/mme").mkdir(parents=True)
    with pytest.raises(BenchmarkError, match="MME: there is no data/test-.*\nlooked in .*\nfetch"):
        write_official(run)
    files.mme(tmp_path / "official/mme")
    next((tmp_path / "official/mme/data").glob("test-00001-*")).unlink()
    with pytest.raises(BenchmarkError, match="test-00001-of-00002… is missing"):
        write_official(run)
    assert not list((run.index_dir / "official").glob("*.jsonl"))


def test_missing_clips_are_never_scored(tmp_path, caplog):
    folder = tmp_path / "official/Video-MME"
    files.videomme(folder)
    (folder / "videos_chunked_02.zip").unlink()
    run = run_of(tmp_path, "videomme")
    with pytest.raises(BenchmarkError) as caught:
        write_official(run)
    first, *_ = str(caught.value).splitlines()
    assert first.startswith(
        "Video-MME: 1 media are not there (_-XyZ_012-3), so 3 of 9 questions cannot be asked; "
        "partial=True"
    )
    run = run_of(tmp_path, "videomme", partial=True)
    with caplog.at_level(logging.WARNING):
        write_official(run)
    assert len(examples(run)) == 6
    assert "3 questions left out: 1 media are not there (_-XyZ_012-3)" in caplog.text
    for path in folder.glob("*.zip"):
        path.unlink()
    with pytest.raises(BenchmarkError, match="none of its media is there"):
        write_official(run)


@pytest.mark.parametrize("partial", [False, True])
def test_an_archive_that_is_half_there_is_named(tmp_path, partial):
    folder = tmp_path / "official/Video-MME"
    files.videomme(folder)
    path = folder / "videos_chunked_01.zip"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BenchmarkError, match="chunked_01.zip cannot be used: .*fetch it again"):
        write_official(run_of(tmp_path, "videomme", partial=partial))


def test_a_withdrawn_task_is_left_out_by_name_and_a_part_of_it_is_not(tmp_path, caplog):
    folder = tmp_path / "official/MVBench"
    files.mvbench(folder)
    run = run_of(tmp_path, "mvbench")
    with caplog.at_level(logging.WARNING):
        write_official(run)
    assert "2 questions left out: fine_grained_pose: withdrawn by the publisher" in caplog.text
    assert len(examples(run)) == 38
    (known,) = (run.index_dir / "official").glob("*.source.json")
    assert list(json.loads(known.read_text())["left_out"].values()) == [2]
    # With one of its clips the task was not left to the publisher: the other is missing.
    clip = folder / "nturgbd/fine_grained_pose_0.mp4"
    clip.parent.mkdir()
    clip.write_bytes(files.clip(tmp_path))
    with pytest.raises(BenchmarkError, match=r"1 media are not there \(fine_grained_pose_1.mp4\)"):
        write_official(run)


def test_a_table_that_is_there_twice_is_named(tmp_path):
    files.table(tmp_path / "official/mmstar/mmstar.parquet", files.mmstar_rows() * 2)
    with pytest.raises(BenchmarkError, match="2 questions are called '0': is a table there twice"):
        write_official(run_of(tmp_path, "mmstar"))


def _without(path, column):
    rows = pq.read_table(path)
    pq.write_table(rows.drop_columns([column]), path)


def _with(path, column, value):
    rows = [{**row, column: value} for row in pq.read_table(path).to_pylist()]
    files.table(path, rows)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: _without(path, "answer"), "row 1 has no 'answer' but video_id, .*, options:"),
        (lambda path: _with(path, "answer", None), "row 1 is not what the set has: Attr"),
        (lambda path: _with(path, "options", "A. a\nB. b"), "row 1 is not what the set has: Val"),
        (lambda path: path.write_bytes(path.read_bytes()[:999]), "not usable Parquet"),
        (lambda path: path.write_text("version https://git-lfs"), "starts with b'version https"),
        (
            lambda path: (path.parents[1] / "subtitle.zip").unlink(),
            "its options ask for subtitles = 'all', and no video has any",
        ),
    ],
)
def test_files_that_are_not_those_of_the_set_are_named(tmp_path, damage, said):
    run = run_of(tmp_path, "videomme", options=ConfigDict({"subtitles": "all"}))
    files.videomme(tmp_path / "official/Video-MME")
    damage(tmp_path / "official/Video-MME/videomme/test-00000-of-00001.parquet")
    with pytest.raises(BenchmarkError, match=f"{said}.*\nlooked in .*Video-MME\nfetch ") as caught:
        write_official(run)
    assert len(str(caught.value).splitlines()) <= 5
    assert not list((run.index_dir / "official").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"official": "videome"}, "official = 'videome': known .*; did you mean videomme?"),
        ({"options": {"subtitle": "all"}}, "options.subtitle: Video-MME has subtitles"),
        ({"options": {"subtitles": "33"}}, "options.subtitles = '33': expected one of"),
        ({"modality": "image"}, "modality = 'image': Video-MME is of 'video'"),
    ],
)
def test_entries_that_mean_nothing_are_named(tmp_path, entry, said):
    config = tiny.get_config()
    entry = {"official": "videomme", "modality": "video", **entry}
    config.data.benchmarks = ConfigDict({"mine": entry})
    with pytest.raises(ConfigError, match=f"^config.data.benchmarks.mine.{said}"):
        write_official(Run(config, tmp_path))


def test_a_benchmark_has_annotations_or_is_official():
    config = tiny.get_config()
    both = {"official": "mme", "annotations": "a.jsonl", "modality": "image"}
    for entry in (both, {"modality": "image"}):
        config.data.benchmarks = ConfigDict({"mine": entry})
        with pytest.raises(ConfigError, match="mine: name its annotations, or the official"):
            Run(config, "")
    config.data.benchmarks = ConfigDict(
        {"mine": {"annotations": "a.jsonl", "modality": "image", "partial": True}}
    )
    with pytest.raises(ConfigError, match="mine.partial has no effect: it belongs to official"):
        Run(config, "")


# ── Where they lie. ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "place",
    [
        "lmms-lab/Video-MME",
        "lmms-eval/Video-MME",
        "Video-MME",
        "video_mme",
        "videomme",
        "lmms-lab__Video-MME",
        "datasets--lmms-lab--Video-MME/snapshots/abc",
    ],
)
def test_a_folder_is_found_by_any_of_its_names(tmp_path, place):
    (tmp_path / "root" / place).mkdir(parents=True)
    benchmark = find_benchmark("videomme")
    assert find_folders(benchmark, str(tmp_path / "root")) == [tmp_path / "root" / place]
    # The root may be the folder itself.
    if "/" not in place:
        assert find_folders(benchmark, str(tmp_path / "root" / place))


@pytest.mark.parametrize("place", ["Video-MME-v2", "other/Video-MME", "MMBench_EN", "lmms-lab"])
def test_other_releases_are_never_taken_for_it(tmp_path, place):
    (tmp_path / "root" / place).mkdir(parents=True)
    for name in ("videomme", "mmbench"):
        assert find_folders(find_benchmark(name), str(tmp_path / "root")) == []


def test_the_hub_cache_is_looked_in_at_the_revision_of_main(tmp_path):
    repository = tmp_path / "hub/datasets--lmms-lab--MME"
    for revision in ("a" * 40, "b" * 40):
        (repository / "snapshots" / revision).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("a" * 40)
    (tmp_path / "home/mme").mkdir(parents=True)  # where lmms-eval unpacks
    found = find_folders(find_benchmark("mme"), "")
    assert found == [repository / "snapshots" / ("a" * 40), tmp_path / "home/mme"]
    assert revision_of(found[0]) == "a" * 40 and revision_of(found[1]) == ""


def test_the_revision_of_a_download_is_read_from_what_it_left(tmp_path):
    files.mme(tmp_path / "official/MME")
    left = tmp_path / "official/MME/.cache/huggingface/download/data/test.parquet.metadata"
    left.parent.mkdir(parents=True)
    left.write_text("c" * 40 + "\n0123\n1700000000.0\n")
    run = run_of(tmp_path, "mme")
    write_official(run)
    (known,) = (run.index_dir / "official").glob("*.source.json")
    assert json.loads(known.read_text())["revisions"] == ["c" * 40]


# ── Numbers. ────────────────────────────────────────────────────────────────────────────────────


def test_numbers_have_intervals_over_pictures(tmp_path):
    files.mme(tmp_path / "official/MME")
    run = run_of(tmp_path, "mme")
    write_official(run)
    said = [
        Prediction(
            id=each.id,
            benchmark="mme",
            task=each.meta["task"],
            format="yes_no",
            frames=None,
            why="",
            prediction="yes",
            answer=each.meta["answer"],
            score=float(each.meta["answer"] == "yes"),
            parsed=True,
            visual_tokens=1,
        )  # fmt: skip
        for each in examples(run)
    ]
    found = official_metrics(run, "mme", said)
    assert found["perception"].mean == 500 and found["existence"].mean == 50
    # Every picture has one right and one wrong answer: drawing others changes nothing.
    assert found["existence"].low == found["existence"].high == 50
    assert found["compat_perception"] == found["perception"]  # "yes" is read alike
    assert official_metrics(run, "mme", []) == {}
