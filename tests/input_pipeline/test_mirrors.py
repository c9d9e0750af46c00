"""A folder at an address and its copies: what changes on one side comes to the other."""

import os

import fsspec
import pytest

from input_pipeline import mirrors
from input_pipeline.files import write_atomically
from input_pipeline.mirrors import Mirror, StorageError, address_of, copy_of, publishing, sizes

ADDRESS = "memory://bucket/run"


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mirrors, "_open", {})
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.fixture
def here(storage, tmp_path):
    return _mirror(tmp_path / "here")


@pytest.fixture
def there(storage, tmp_path):
    """Another machine's copy."""
    return _mirror(tmp_path / "there")


def _mirror(folder):
    folder.mkdir()
    return Mirror(ADDRESS, folder)


def _files(mirror):
    paths = (path for path in mirror.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(mirror.folder)): path.read_text() for path in paths}


def test_files_come_to_the_other_machine_change_and_go(here, there):
    write_atomically(here.folder / "index" / "a.arrow", "a")
    write_atomically(here.folder / "b.jsonl", "1\n")
    here.publish()
    there.fetch()
    assert _files(there) == {"index/a.arrow": "a", "b.jsonl": "1\n"}

    with open(there.folder / "b.jsonl", "a") as file:
        file.write("2\n")
    (there.folder / "index" / "a.arrow").unlink()
    there.publish()
    assert sizes(ADDRESS) == {"b.jsonl": 4}
    here.fetch()
    assert _files(here) == {"b.jsonl": "1\n2\n"}


def test_what_only_changed_here_stays_and_the_address_has_the_last_word(here, there):
    write_atomically(here.folder / "mine", "old")
    write_atomically(here.folder / "both", "old")
    here.publish()
    there.fetch()
    write_atomically(there.folder / "both", "theirs")
    there.publish()
    write_atomically(here.folder / "both", "mine, and too late")
    write_atomically(here.folder / "mine", "new")
    write_atomically(here.folder / "never published", "x")
    here.fetch()
    assert _files(here) == {"both": "theirs", "mine": "new", "never published": "x"}


def test_nothing_is_copied_twice(here, there, monkeypatch):
    write_atomically(here.folder / "a", "a")
    here.publish()
    there.fetch()
    for copying in ("get_file", "put_file"):
        monkeypatch.setattr(here._system, copying, None)
    for mirror in (here, there, Mirror(ADDRESS, there.folder)):  # also by a later process
        mirror.publish()
        mirror.fetch()
    assert _files(there) == {"a": "a"}


def test_files_are_published_in_the_order_in_which_they_were_written(here, monkeypatch):
    put, order = here._system.put_file, []

    def noted(path, place):
        order.append(place[-1])
        put(path, place)

    monkeypatch.setattr(here._system, "put_file", noted)
    for age, name in enumerate("cab"):
        write_atomically(here.folder / name, name)
        os.utime(here.folder / name, (1000 - age, 1000 - age))
    here.publish()
    assert order == ["b", "a", "c"]


def test_locks_partial_files_and_checkpoints_do_not_travel(here, there):
    for name in (
        *("index/x.lock", ".job.lock", ".x.partial", "hf.partial/x", "checkpoints/1/x"),
        *(".compilation_cache/x", "probes.sqlite", "probes.sqlite-journal"),
    ):
        write_atomically(here.folder / name, "x")
    here.publish()
    assert sizes(ADDRESS) == {}
    (here.folder / "probes.sqlite-journal").unlink()  # the transaction is over
    here.publish()
    here._system.pipe_file(f"{here._root}/checkpoints/1/x", b"of Orbax")
    there.fetch()
    assert _files(there) == {"probes.sqlite": "x"}


def test_each_process_of_a_machine_has_a_copy_of_its_own(storage, monkeypatch):
    storage.pipe_file("/bucket/run/cells/a/cell.json", b"{}")
    first = copy_of(ADDRESS)
    assert copy_of(f"{ADDRESS}/") == first
    assert address_of(first / "cells" / "a") == f"{ADDRESS}/cells/a" and not address_of("/tmp")
    monkeypatch.setattr(mirrors, "_open", {})  # as another process has it
    second = copy_of(ADDRESS)
    assert second != first and (second / "cells" / "a" / "cell.json").read_text() == "{}"


def test_a_job_publishes_as_it_goes_and_at_its_end_however_it_ends(storage, monkeypatch, caplog):
    monkeypatch.setattr(mirrors, "PUBLISH_SECONDS", 0.02)
    folder = copy_of(ADDRESS)
    with pytest.raises(SystemExit), publishing():
        write_atomically(folder / "a", "a")
        while not sizes(ADDRESS):
            pass
        with monkeypatch.context() as patch:
            patch.setattr(storage, "put_file", _refuse)
            write_atomically(folder / "b", "b")
            while "tried again" not in caplog.text:
                pass
        raise SystemExit(143)
    assert sizes(ADDRESS) == {"a": 1, "b": 1}


def test_what_cannot_be_reached_is_one_line(here, monkeypatch):
    monkeypatch.setattr(here._system, "put_file", _refuse)
    write_atomically(here.folder / "a", "a")
    with pytest.raises(StorageError, match=f"{ADDRESS} cannot be written: .* 403 no access"):
        here.publish()
    monkeypatch.setattr(here._system, "put_file", _no_bucket)
    with pytest.raises(StorageError, match="cannot be written: FileNotFoundError: bucket"):
        here.publish()
    (here.folder / "a").unlink()  # gone again before it was read
    here.publish()
    with pytest.raises(StorageError, match="nowhere://a/b"):
        copy_of("nowhere://a/b")


def _no_bucket(*_):
    raise FileNotFoundError("bucket")


def _refuse(*_):
    raise RuntimeError("403 no access")
