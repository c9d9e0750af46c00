"""Checkpoints whose files are not what was written: noticed, named, and gone around."""

import contextlib
import json
import shutil

import numpy as np
import pytest

from vsft_jax.checkpoints import CheckpointError, Checkpoints, make_ready, places, steps_of
from vsft_jax.checkpoints.manifest import MANIFEST, damage

PARAMS = {"a": np.arange(10_000.0), "b": {"c": np.ones((3, 4))}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("saved")
    with contextlib.closing(Checkpoints(workdir, keep=2)) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, PARAMS, {"mu": PARAMS, "step": np.array(step)}, {"step": step})
    return workdir


@pytest.fixture
def workdir(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def _reading(workdir, **options):
    return contextlib.closing(Checkpoints(workdir, read_only=True, **options))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "flip": (_flip, "does not hold the bytes that were written"),
    "truncate": (_truncate, r"has \d+ bytes, not the \d+ that were written"),
    "empty": (lambda path: path.write_bytes(b""), r"has 0 bytes, not the \d+"),
    "delete": (lambda path: path.unlink(), "is missing"),
}


def _files(folder, item):
    found = sorted(path for path in (folder / item).rglob("*") if path.stat().st_size)
    return [path for path in found if path.is_file()]


def test_a_checkpoint_has_the_checksums_of_all_its_files_from_the_beginning(workdir):
    folder = workdir / "checkpoints" / "3"
    files = json.loads((folder / MANIFEST).read_text())["crc32"]
    expected = {
        str(p.relative_to(folder))
        for i in ("params", "optimizer", "meta")
        for p in (folder / i).rglob("*")
        if p.is_file()
    }
    assert files.keys() == expected and damage(folder) is None
    assert not [path for path in workdir.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_to_every_file_is_named(workdir, kind):
    harm, said = DAMAGES[kind]
    whole, folder = workdir / "checkpoints" / "2", workdir / "checkpoints" / "3"
    for item, restore in (
        ("params", lambda c: c.restore_params(PARAMS)),
        ("optimizer", lambda c: c.restore_optimizer({"mu": PARAMS, "step": np.array(0)})),
        ("meta", lambda c: c.meta()),
    ):
        for path in _files(folder, item):
            before = path.read_bytes()
            harm(path)
            with _reading(workdir) as checkpoints, pytest.raises(CheckpointError, match=said) as e:
                restore(checkpoints)
            assert str(path.relative_to(folder)) in str(e.value)
            assert str(e.value).endswith(f"to use it: mv {folder} {folder}.damaged")
            assert f"Step {whole.name} is whole" in str(e.value)
            path.write_bytes(before)
    with _reading(workdir) as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore_params(PARAMS)["a"], PARAMS["a"])
        assert checkpoints.meta() == {"step": 3}


def test_a_training_sets_the_damaged_one_aside_and_has_the_one_before(workdir, caplog):
    caplog.set_level("INFO")
    directory = workdir / "checkpoints"
    leftover = directory / "4.orbax-checkpoint-tmp"
    shutil.copytree(directory / "3", leftover)
    _flip(_files(directory / "3", "optimizer")[0])
    make_ready(directory, verify=True)
    assert sorted(path.name for path in directory.iterdir()) == ["2", "3.damaged"]
    with contextlib.closing(Checkpoints(workdir)) as checkpoints:
        assert checkpoints.latest() == 2
        checkpoints.save(3, PARAMS, PARAMS, {})
    assert any(f"removed {leftover}" in m and m.endswith(" MB") for m in caplog.messages)
    (line,) = [m for m in caplog.messages if "is damaged" in m]
    assert "checkpoint 3 is damaged: optimizer/" in line and line.endswith("3.damaged")
    _truncate(_files(directory / "3", "params")[0])
    make_ready(directory, verify=True)
    assert {p.name for p in directory.iterdir()} == {"2", "3.damaged", "3.damaged-2"}


def test_a_removal_that_is_cut_off_leaves_no_part_of_a_checkpoint(saved, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    shutil.copytree(saved, workdir)
    directory = workdir / "checkpoints"

    def cut_off(folder):
        next(path for path in sorted(folder.rglob("*")) if path.is_file()).unlink()
        raise OSError("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(places.shutil, "rmtree", cut_off)
        checkpoints = Checkpoints(workdir, keep=1)
        with pytest.raises(
            CheckpointError, match=r"checkpoints/2 cannot be removed: .*killed here"
        ):
            checkpoints.close()
    assert steps_of(directory) == [3] and len(places.unfinished(directory)) == 1
    make_ready(directory, verify=True)
    assert [path.name for path in directory.iterdir() if path.is_dir()] == ["3"]


def test_a_training_without_a_whole_one_is_refused_and_nothing_is_moved(workdir):
    directory = workdir / "checkpoints"
    for step in ("2", "3"):
        _flip(_files(directory / step, "params")[-1])
    with pytest.raises(CheckpointError, match="no whole checkpoint.*step 3: params/.*step 2: para"):
        make_ready(directory, verify=True)
    assert sorted(path.name for path in directory.iterdir()) == ["2", "3"]
    expected = pytest.raises(CheckpointError, match="No other checkpoint is whole")
    with _reading(workdir) as checkpoints, expected:
        checkpoints.restore_params(PARAMS)


def test_verifying_can_be_left_out(workdir):
    make_ready(workdir / "absent", verify=True)
    folder = workdir / "checkpoints" / "3"
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace(" ", "")[:-20])
    assert "manifest.json cannot be used" in damage(folder)
    make_ready(workdir / "checkpoints", verify=False)
    with _reading(workdir, verify=False) as checkpoints:
        assert checkpoints.restore_params(PARAMS)["b"]["c"].all()


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "flip"])
def test_one_of_an_earlier_version_loads_and_what_orbax_says_of_it_is_named(workdir, kind):
    folder = workdir / "checkpoints" / "3"
    (folder / MANIFEST).unlink()
    make_ready(workdir / "checkpoints", verify=True)
    with _reading(workdir) as checkpoints:
        assert checkpoints.meta() == {"step": 3}
        checkpoints.restore_params(PARAMS)
    DAMAGES[kind][0](folder / "meta" / "metadata")
    for path in _files(folder, "params"):
        if path.name in ("_METADATA", "manifest.ocdbt"):
            DAMAGES[kind][0](path)
    with _reading(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=f"{folder}/meta cannot be read: "):
            checkpoints.meta()
        with pytest.raises(CheckpointError, match=f"{folder}/params cannot be read: "):
            checkpoints.restore_params(PARAMS)


def test_values_that_are_not_finite_are_refused_by_name(tmp_path):
    ruined = {"a": np.array([1.0, np.nan]), "b": {"c": np.ones(2)}}
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, {"a": np.ones(2)}, PARAMS, {})
        checkpoints.save(2, ruined, PARAMS, {})
        checkpoints.wait()
        with pytest.raises(CheckpointError, match=r"2 is of no use: a is not finite .*\n.*Step 1"):
            checkpoints.restore_params(ruined)
        ruined["b"]["c"] = np.full(2, np.inf)
        checkpoints.save(3, ruined, PARAMS, {})
        checkpoints.wait()
        with pytest.raises(CheckpointError, match="a and 1 more parameters are not finite"):
            checkpoints.restore_params(ruined)
