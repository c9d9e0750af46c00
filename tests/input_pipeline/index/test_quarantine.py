"""What was left out: written once, whole after a kill, and watched."""

import errno
import json
import os

import pytest

from input_pipeline.index.quarantine import (
    BadFraction,
    Quarantine,
    QuarantineEntry,
    QuarantineError,
    TooManyBad,
    join_quarantines,
    quarantine_of,
    read_quarantine,
)


def entry(id, reason="corrupt", detail="x"):
    return {
        "source": "mine",
        "id": id,
        "path": f"/media/{id}.mp4",
        "stage": "probe",
        "reason": reason,
        "detail": detail,
    }


def test_what_is_there_already_is_not_added_again(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        quarantine.add(**entry("a"))
        quarantine.add(**entry("b"))
        quarantine.add(**entry("c", "missing"))
        quarantine.add(**entry("a", detail="worded differently"))
    assert [(e.id, e.reason, e.detail) for e in read_quarantine(path)] == [
        ("a", "corrupt", "x"),
        ("b", "corrupt", "x"),
        ("c", "missing", "x"),
    ]


def test_the_quarantine_of_an_index_is_that_of_its_pieces_with_counts(tmp_path):
    pieces = [tmp_path / "pieces" / name for name in ("0.arrow", "1.arrow")]
    pieces[0].parent.mkdir()
    written = [
        QuarantineEntry(**entry("a", "missing")),
        QuarantineEntry(**entry("b", detail="größer, \udcff")),
        QuarantineEntry(**entry("c")),
    ]
    quarantine_of(pieces[0]).write_bytes(written[0].line())
    quarantine_of(pieces[1]).write_bytes(written[1].line() + written[2].line())
    counts = join_quarantines(tmp_path / "mine.arrow", pieces)
    assert list(counts.items()) == [("corrupt", 2), ("missing", 1)]
    assert list(read_quarantine(tmp_path / "mine.quarantine.jsonl")) == written


def test_a_bad_fraction_above_the_limit_stops_but_a_handful_does_not():
    watch = BadFraction(0.1, "/work/quarantine.jsonl")
    watch.add(10, 10)  # a handful, however small the set
    watch.add(0, 200)
    watch.add(11, 0)  # 21 of 210
    with pytest.raises(TooManyBad, match=r"22 of 211 .*max_bad_fraction = 0.1: /work/quaran"):
        watch.add(1, 1)
    never = BadFraction(1.0, "")
    never.add(500, 500)


def test_quarantine_goes_on_after_a_kill(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    first = Quarantine(path)
    first.add(**entry("a"))
    assert len(list(read_quarantine(path))) == 1  # on disk before closing
    with open(path, "a") as file:
        file.write('{"source": "mine", "id": "half wri')
    assert len(list(read_quarantine(path))) == 1
    with Quarantine(path) as second:
        second.add(**entry("a"))
        second.add(**entry("b", detail="größer, \udcff"))
    first.close()
    assert [(e.id, e.detail) for e in read_quarantine(path)] == [
        ("a", "x"),
        ("b", "größer, \udcff"),
    ]


def test_a_file_that_is_no_quarantine_is_not_appended_to(tmp_path, caplog):
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with Quarantine(path) as quarantine:
        quarantine.add(**entry("a"))
    assert (tmp_path / "notes.txt.damaged").read_text() == "my notes\n"
    assert [each.id for each in read_quarantine(path)] == ["a"]
    assert [m for m in caplog.messages if "notes.txt holds no entry" in m]
    (tmp_path / "notes.txt").write_text("my notes\n")
    with pytest.raises(ValueError, match="line 1 is not a quarantine entry"):
        list(read_quarantine(path))


def test_broken_lines_do_not_keep_a_run_from_going_on(tmp_path, caplog):
    path = tmp_path / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        quarantine.add(**entry("a"))
    with open(path, "ab") as file:
        file.write(b"\0\0\0\n[1, 2]\n" + QuarantineEntry(**entry("b")).line())
    with Quarantine(path) as quarantine:
        quarantine.add(**entry("b"))
        quarantine.add(**entry("c"))
    assert path.read_bytes().count(b"\n") == 5
    assert [m for m in caplog.messages if "lines [2, 3] are no entries" in m]


def test_a_full_disk_is_named_and_costs_the_line_that_did_not_fit(tmp_path, monkeypatch):
    path, write, left = tmp_path / "quarantine.jsonl", os.write, [200]

    def full(file, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, data[: left[0]])
        left[0] -= done
        return done

    with Quarantine(path) as quarantine, monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        quarantine.add(**entry("a"))
        with pytest.raises(QuarantineError, match=f"{path}.* cannot be written: No space left"):
            quarantine.add(**entry("b"))
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a"]
    with Quarantine(path) as quarantine:
        quarantine.add(**entry("b"))
    assert [each.id for each in read_quarantine(path)] == ["a", "b"]
