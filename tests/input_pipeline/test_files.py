import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from input_pipeline.files import replacing, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", ["é\n\u2028", b"\x00\xff"])
def test_text_and_bytes_are_written_in_a_folder_that_is_made(tmp_path, data):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, "old")
    write_atomically(str(path), data)
    assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode("utf-8"))
    assert names(path.parent) == ["file"]


def test_what_cannot_be_encoded_leaves_the_old_file(tmp_path):
    write_atomically(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_writer_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_the_file_appears_at_the_end_under_its_name_and_mode(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "file") as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path
        assert not (tmp_path / "file").exists()
        assert not list(tmp_path.glob("[!.]*.partial")), "a listing should not show it"
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    path, together = tmp_path / "file", threading.Barrier(4)

    def write(text):
        with replacing(path, sync=False) as partial:
            together.wait(10)
            partial.write_text(text)
            together.wait(10)
            assert partial.read_text() == text

    threads = [threading.Thread(target=write, args=(str(i) * 100,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in [str(i) * 100 for i in range(4)]
    assert names(tmp_path) == ["file"]


def test_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda file: done.append("bytes"))
    monkeypatch.setattr("os.replace", lambda *_: done.append("name"))
    for sync in (True, False):
        with replacing(tmp_path / "file", sync=sync) as partial:
            partial.touch()
    assert done == ["bytes", "name", "name"]


def test_a_full_disk_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match="No space left") as error,
        replacing(tmp_path / "file"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"1")
    assert error.value.filename == str(tmp_path / "file") and not names(tmp_path)


def test_a_full_disk_names_the_copy(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", "source", None, "copy")  # as of shutil
    with pytest.raises(OSError) as error, replacing(tmp_path / "copy"):
        raise full
    assert (error.value.filename, error.value.filename2) == (str(tmp_path / "copy"), None)


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    gone = [f".file.{host}.{ended.pid}.7.partial"]
    stay = [f".file.{host}.{os.getppid()}.7.partial", f".file.elsewhere.{ended.pid}.7.partial"]
    stay += [f".file2.{host}.{ended.pid}.7.partial", f".file.{host}.x.partial"]
    for name in gone + stay:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "file", "new")
    assert names(tmp_path) == sorted([*stay, "file"])
