"""Answers as they come: whatever part of the file a killed process leaves, nothing is mixed."""

import json

import pytest

from evaluation.journal import Appended, Reply, journal_path, resume

ASKED = {"checkpoint": [3, "ab"], "frame_policy": {"kind": "fixed", "frames": 8}}
REPLIES = [Reply("q1", "A"), Reply("q2", "zwölf\u2028\n"), Reply("q3", "", "cut_off: a.mp4")]
IDS = ["q1", "q2", "q3", "q4"]


def _written(folder):
    path = journal_path(folder, "mine")
    assert resume(path, ASKED, IDS) == {}
    with Appended(path) as append:
        for reply in REPLIES:
            append(reply)
    return path


def test_answers_come_back(tmp_path):
    path = _written(tmp_path)
    assert path.name == "mine.answers.jsonl"
    assert list(resume(path, ASKED, IDS).values()) == REPLIES
    assert json.loads(path.read_text().split("\n")[0]) == {"asked": ASKED}


def test_any_part_of_the_file_goes_on_to_the_same(tmp_path):
    path = _written(tmp_path)
    whole = path.read_bytes()
    for stop in range(len(whole)):
        path.write_bytes(whole[:stop])
        known = resume(path, ASKED, IDS)
        assert list(known.values()) == REPLIES[: len(known)]
        with Appended(path) as append:
            for reply in REPLIES[len(known) :]:
                append(reply)
        assert path.read_bytes() == whole


def test_what_a_disk_lost_is_asked_again(tmp_path):
    path = _written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + bytes(len(lines[2])) + b"\n" + lines[3])
    assert list(resume(path, ASKED, IDS).values()) == REPLIES[:1]
    assert path.read_bytes() == lines[0] + lines[1]


@pytest.mark.parametrize("change", [{"checkpoint": [4, "ab"]}, {"frame_policy": {}}, {"new": 1}])
def test_other_settings_never_mix_in(tmp_path, change):
    path = _written(tmp_path)
    assert resume(path, ASKED | change, IDS) == {}
    assert resume(path, ASKED, IDS) == {}


def test_what_failed_is_asked_again_when_all_else_is_answered(tmp_path):
    path = _written(tmp_path)
    assert "q3" in resume(path, ASKED, IDS)
    again = resume(path, ASKED, IDS[:3])
    assert list(again) == ["q1", "q2"]
    assert resume(path, ASKED, IDS) == again
