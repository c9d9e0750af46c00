"""Every kind of file that is written, where it does not fit: a line that names it, and nothing by
halves. The system refuses what is larger than a limit, so one file after another is the one.
"""

import contextlib
import dataclasses
import json
import logging
from pathlib import Path

import jax.numpy as jnp
import pytest

from configs import default
from evaluation.compare import save as save_comparisons
from evaluation.journal import Appended, Reply, journal_path, resume
from evaluation.report import build, read_folder
from evaluation.results import save_results
from front.door import _for_user
from input_pipeline.index import Quarantine
from tests.conftest import no_file_larger_than
from tests.evaluation.report.synthetic_study import write_study
from tests.evaluation.test_results import prediction, summary
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.checkpoints import Checkpoints, steps_of
from vsft_jax.checkpoints.manifest import write_manifest
from vsft_jax.config import Run
from vsft_jax.export import export
from vsft_jax.prepare import ensure_made_sets, prepare_training
from vsft_jax.train.record import Record
from vsft_jax.workdir_lock import working_in

_TRIES = 4  # of a writer, at most


@pytest.fixture(autouse=True)
def no_log():
    """The log of a test is a file too."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def config(shared_config, tmp_path_factory):
    """Of a set with an example of text, one with a picture and one that is left out."""
    path = tmp_path_factory.mktemp("mine") / "mine.jsonl"
    picture = sorted(Path(shared_config.data.root, "world/media").rglob("*.png"))[0]
    shown = {"image": str(picture), "question": "What is in the picture?", "answer": "A square."}
    records = [{"question": "Why?", "answer": "So."}, shown, {"question": "And?"}]
    path.write_text("\n".join(map(json.dumps, records)))
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():
        config.data.train = {"mine": {"annotations": str(path), "media_root": str(picture.parent)}}
        config.data.index_dir, config.data.mixture, config.data.replay = "", "", ""
    return config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The config of an import."""
    directory = tmp_path_factory.mktemp("model")
    write_model(directory)
    config = default.get_config()
    config.model.update(path=str(directory), dtype="float32")
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study and what a report says of it."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    found = read_folder(folder)
    document = build.make_document(found)
    sections = [
        dataclasses.replace(
            section,
            figures=[
                dataclasses.replace(each, draw=lambda theme: None) for each in section.figures
            ],
        )
        for section in document.sections
    ]
    return found, dataclasses.replace(document, sections=sections)


def _not_drawn(figure):
    return dataclasses.replace(figure, draw=lambda theme: None)


# ── Writers: fixtures, the folder → what writes into it. ────────────────────────────────────────


def _index(get, folder):
    run = Run(get("config"), folder)
    return lambda: prepare_training(run)


def _demo_world(get, folder):
    config = get("shared_config").copy_and_resolve_references()
    config.data.update(root=str(folder), demo_world={"train_images": 2, "train_clips": 3})
    return lambda: ensure_made_sets(Run(config, folder))


def _tokenizer(get, folder):
    return Run(get("config"), folder).keep_tokenizer


def _lock(get, folder):
    def lock():
        with working_in(folder, "train"):
            (folder / "done").write_text("done")

    return lock


def _record(get, folder):
    def record():
        with contextlib.closing(Record(folder)) as record:
            for step in range(3):
                record.write(step, {"loss": 0.5 + step})

    return record


def _quarantine(get, folder):
    def quarantine():
        with Quarantine(folder / "quarantine.jsonl") as found:
            for name in "abc":
                found.add(
                    source="mine", id=name, path=name, stage="decode", reason="cut_off", detail=""
                )

    return quarantine


def _checkpoint(get, folder):
    def save():
        with contextlib.closing(Checkpoints(folder)) as checkpoints:
            values = {"a": jnp.arange(5000.0)}
            checkpoints.save(3, values, values, {"config": {}, "frames": {}})

    return save


def _manifest(get, folder):
    (folder / "params").mkdir()
    (folder / "params" / "values").write_bytes(b"")
    return lambda: write_manifest(folder)


def _results(get, folder):
    answered = [prediction(str(i)) for i in range(3)]
    return lambda: save_results(folder, [summary(answered)], answered)


def _journal(get, folder):
    def answers():
        path = journal_path(folder, "mine")
        resume(path, {"frame_policy": {}}, "abc")
        with Appended(path) as add:
            for name in "abc":
                add(Reply(name, "It is red."))

    return answers


def _comparison(get, folder):
    return lambda: save_comparisons([], folder / "comparison.json")


def _report(get, folder):
    study, document = get("study")
    get("monkeypatch").setattr(build, "png", lambda figure: b"drawn")
    get("monkeypatch").setattr(build, "make_document", lambda study: document)
    return lambda: build.write_report(study, folder)


def _export(get, folder):
    run = Run(get("model"), folder)
    return lambda: export(run)


WRITERS = {
    "index": _index,
    "demo world": _demo_world,
    "tokenizer": _tokenizer,
    "lock": _lock,
    "train.jsonl": _record,
    "quarantine.jsonl": _quarantine,
    "checkpoint": _checkpoint,
    "manifest": _manifest,
    "results": _results,
    "answers": _journal,
    "comparison": _comparison,
    "report": _report,
    "export": _export,
}


def _files(folder):
    """By name, those of which a reader would make anything."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if not any(part.startswith(".") or ".partial" in part for part in path.parts)
        and not path.name.endswith((".unfinished", ".sqlite"))  # SQLite's care
    }


def _is_whole(name, content, expected):
    if name.endswith(".jsonl") and expected.startswith(content):
        return not content or content.endswith(b"\n")
    if name.endswith(".json"):  # which may tell the time
        return json.loads(content).keys() == json.loads(expected).keys()
    return len(content) == len(expected)


@pytest.mark.parametrize("name", WRITERS)
def test_what_does_not_fit_is_named_and_nothing_is_left_by_halves(name, request, tmp_path):
    get, make = request.getfixturevalue, WRITERS[name]
    (tmp_path / "whole").mkdir()
    make(get, tmp_path / "whole")()
    expected = _files(tmp_path / "whole")
    sizes = sorted({len(content) for content in expected.values()} - {0})
    assert sizes
    # The largest file is always too large: the sizes of some change a little from try to try.
    some = sizes[:: 1 + len(sizes) // _TRIES]
    for limit in {0, sizes[-1] // 2, *(size - 1 for size in some if size < 0.9 * sizes[-1])}:
        folder = tmp_path / str(limit)
        folder.mkdir()
        write = make(get, folder)
        with no_file_larger_than(limit), pytest.raises(Exception) as caught:  # noqa: PT011
            write()
        said = _for_user(caught.value)
        assert said and str(folder) in said and len(said.splitlines()) <= 3, (limit, caught.value)
        assert not steps_of(folder / "checkpoints")
        if name != "checkpoint":  # whose folder has no name of its own yet
            for file, content in _files(folder).items():
                if ".pieces" in file:  # gone when the index is there
                    continue
                assert _is_whole(file, content, expected[file]), (limit, file, content[:200])
