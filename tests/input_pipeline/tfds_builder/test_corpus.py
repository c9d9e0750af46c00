"""Annotations → TFDS shards → the same examples, with the bytes of the same media."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo_world import write_tokenizer
from input_pipeline.annotations import (
    Rejected,
    count_records,
    read_annotations,
    read_record_bytes,
)
from input_pipeline.examples import Example
from input_pipeline.index import DatasetSpec, ExampleStore, IndexSpec, prepare
from input_pipeline.media import Decoder
from tests.input_pipeline.media_fixtures import write_clip
from vsft_jax.models.qwen2_5_vl.layout import Layout

REPOSITORY = Path(__file__).parents[3]


def _record(name, question, **media):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "two"}]
    return {"id": name, "conversations": talk, **media}


RECORDS = [
    _record("first", "<video>\nHow many?", video="a.mp4", task="count"),
    _record("still", "<image>\nWhat?", image="still.png"),
    _record("blank line", "<image>\n\n What? \n", image="still.png"),
    _record("second", "<video>\nWhich?", video="a.mp4", start=0.25, end=0.5),
    _record("words", "Nothing to see?"),
    _record("both", "<image> in <video> and <image>?", image=["still.png"] * 2, video="a.mp4"),
    _record("words too", "Nothing at all?"),
    _record("gone", "<video>\nWho?", video="gone.mp4"),
    _record("bad", "<video>\nWho?"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    write_clip(root / "a.mp4", frames=24)
    cv2.imwrite(str(root / "still.png"), np.full((64, 64, 3), 90, np.uint8))
    (root / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
    return root


def _build(corpus, data_dir, **options):
    """Runs the builder as users do; the folder of the split."""
    config = {"name": "mine", "annotations": str(corpus / "train.jsonl"), "media_root": str(corpus)}
    command = [sys.executable, "-m", "input_pipeline.tfds_builder", f"--data_dir={data_dir}"]
    done = subprocess.run(
        [*command, "--num_shards=2", f"--config={json.dumps(config | options)}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return data_dir / "corpus" / "mine" / "1.0.0" / "train"


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    return _build(corpus, tmp_path_factory.mktemp("built"))


def _with_bytes(examples):
    """id → the example with the bytes of its media for their paths."""
    found = {}
    for example in examples:
        assert isinstance(example, Example), example
        turns = [
            [
                (p.kind, p.start_s, p.end_s, _bytes(p.path)) if not isinstance(p, str) else p
                for p in turn.parts
            ]
            for turn in example.turns
        ]
        found[example.id] = (turns, example.meta, example.source)
    return found


def _bytes(path):
    return read_record_bytes(path) if path.startswith("record:") else Path(path).read_bytes()


def _read_back(split):
    return list(read_annotations(split, "/nowhere", "mine"))


def test_the_shards_hold_the_same_examples_and_media(corpus, built):
    from_files = [
        example
        for example in read_annotations(corpus / "train.jsonl", corpus, "mine")
        if isinstance(example, Example) and example.id != "gone"
    ]
    *_, unusable = sorted(_read_back(built), key=lambda e: isinstance(e, Rejected))
    assert (unusable.id, unusable.reason) == ("gone", "bad_media")
    assert "gone.mp4: missing" in unusable.detail
    read = [example for example in _read_back(built) if isinstance(example, Example)]
    assert _with_bytes(read) == _with_bytes(from_files)
    # Questions about the same media share a record; those about none have one each.
    assert count_records(str(built)) == 6
    (rejected,) = (built.parents[2] / "rejected-mine.jsonl").read_text().splitlines()
    assert json.loads(rejected)["reason"] == "tag_without_media"


def test_they_can_be_moved_and_prepared_like_files(corpus, built, tmp_path):
    write_tokenizer(tmp_path / "tokenizer", ["How many Which What Nothing two in and"])
    spec = IndexSpec(
        tokenizer_dir=str(tmp_path / "tokenizer"),
        layout=Layout(
            image_min_pixels=28 * 28,
            image_max_pixels=56 * 56,
            video_min_pixels=28 * 28,
            video_max_pixels=56 * 56,
        ),
        frame_policy={"kind": "fixed", "frames": 8},
        max_tokens=512,
        max_patches=512,
    )
    shutil.copytree(built.parent, tmp_path / "moved")
    stores = []
    for annotations, root in (
        (tmp_path / "moved/train", "/nowhere"),
        (corpus / "train.jsonl", corpus),
    ):
        dataset = DatasetSpec("mine", str(annotations), str(root))
        path, _ = prepare(dataset, spec, tmp_path / "index")
        store = ExampleStore.open(path)
        stores.append({store[i][0].id: store[i] for i in range(len(store))})
    assert stores[0].keys() == stores[1].keys() and len(stores[0]) == 7
    for (inside, layout), (outside, expected) in zip(
        *(map(store.get, sorted(stores[0])) for store in stores), strict=True
    ):
        assert layout == expected
        for ref, file, medium in zip(inside.media, outside.media, layout.media, strict=True):
            assert ref.path.startswith("record:") and not file.path.startswith("record:")
            frames = [Decoder().frames(r, medium.frame_indices) for r in (ref, file)]
            np.testing.assert_array_equal(*frames)


def test_beam_writes_the_same_shards(corpus, built, tmp_path):
    pytest.importorskip("apache_beam", reason="apache-beam is not installed")
    split = _build(corpus, tmp_path, beam=True)
    files = [sorted(f.name for f in s.parent.glob("*array_record*")) for s in (built, split)]
    assert files[0] == files[1] and len(files[0]) == 2
    usable = [
        [example for example in _read_back(s) if isinstance(example, Example)]
        for s in (built, split)
    ]
    assert _with_bytes(usable[0]) == _with_bytes(usable[1])
    assert [example.id for example in usable[0]] == [example.id for example in usable[1]]


def test_the_set_of_a_training_config(corpus, tmp_path):
    from input_pipeline.tfds_builder import corpus as tfds_builder

    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    config = ConfigDict({'data': {'root': '', 'train': {}, 'benchmarks': {}}})\n"
        "    config.data.train.clips = {'annotations': 'train.jsonl', 'media_root': '.'}\n"
        "    return config\n"
    )
    config = tfds_builder.CorpusConfig(
        name="clips", config_file=str(tmp_path / "mine.py"), root=str(corpus)
    )
    resolved = tfds_builder._resolved(config)
    assert resolved.annotations == str(corpus / "train.jsonl")
    assert Path(resolved.media_root) == corpus
    config.name = "other"
    with pytest.raises(ValueError, match=r"no data set 'other', only \['clips'\]"):
        tfds_builder._resolved(config)
    with pytest.raises(ValueError, match="name the data set"):
        tfds_builder._resolved(tfds_builder.CorpusConfig(name="unset"))
