"""Records of tables, of packed and wrapped JSON, and of WebDataset tars."""

import csv
import gzip
import io
import json
import tarfile

import pytest

from input_pipeline.annotations import AnnotationError, Rejected, read_annotations, records
from input_pipeline.annotations.records import read_record_bytes, tar_records
from input_pipeline.examples import MediaRef


def values(path):
    return [record.value for record in records.read_records(str(path))]


def kept(path):
    """The values, after a look at the count."""
    found = values(path)
    assert records.count_records(str(path)) == len(found)
    return found


# --- Tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("a.CSV", ";"), ("a.csv.gz", ",")]
)
def test_a_table_is_read_by_its_columns(tmp_path, name, delimiter):
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter)
    long = json.dumps([{"from": "human", "value": 'He says: "hé,\n日本"; ' + "x" * 200_000}])
    rows.writerow(["video", "q", "conversations"])
    rows.writerow([4010069381, "a\nb", long])
    rows.writerow(["007", "", "1.50"])
    rows.writerow([-2.5, "1e3", "12345678901234567890"])
    data = text.getvalue().encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert kept(tmp_path / name) == [
        {"video": 4010069381, "q": "a\nb", "conversations": long},
        {"video": "007", "q": None, "conversations": "1.50"},
        {"video": -2.5, "q": "1e3", "conversations": "12345678901234567890"},
    ]
    record = next(records.read_records(str(tmp_path / name)))
    assert record.where == f"{tmp_path}/{name}, row 1"
    assert csv.field_size_limit() == 131072  # everybody's


def test_a_row_of_another_length_is_rejected_and_a_table_without_names_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("q,a\nWhat?,That.\nWhat?,That.,more\n\nWhy?,So.\n")
    first, bad, last = kept(path)
    assert isinstance(bad, Rejected) and bad.reason == "bad_record"
    assert bad.detail == f"{path}, row 2: 3 cells for 2 columns" and last["q"] == "Why?"
    for text, said in (("", "no names"), ("q,q\n1,2\n", "'q' twice"), ("q,\n1,2\n", "name")):
        path.write_text(text)
        with pytest.raises(AnnotationError, match=said):
            values(path)


def test_a_table_with_a_column_map(tmp_path):
    (tmp_path / "a.csv").write_text("vid,question,answer\n7,What?,\n8,What?,2\n")
    columns = {"video": "{vid}.mp4"}
    found = list(read_annotations(tmp_path / "a.csv", tmp_path, "mine", columns=columns))
    assert isinstance(found[0], Rejected)  # no answer
    assert found[1].turns[1].text == "2" and found[1].media[0].path == f"{tmp_path}/8.mp4"


# --- JSON, packed and wrapped -------------------------------------------------------------------

LIST = [{"n": i, "text": "]é} " * i} for i in range(5)]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "wrapped",
    [
        {"data": LIST},
        {"version": "1.0", "info": {"year": 2024, "by": "é"}, "data": LIST, "more": {"a": [1]}},
        {"splits": ["a", "b"], "annotations": LIST},
    ],
)
def test_a_list_inside_an_object_is_the_records(tmp_path, wrapped, indent):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(wrapped, indent=indent, ensure_ascii=False), encoding="utf-8-sig")
    assert kept(path) == LIST
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert kept(packed) == LIST
    path.write_text(json.dumps(wrapped)[:-60])
    with pytest.raises(AnnotationError, match="line 1, column"):
        values(path)


def test_lines_that_begin_like_such_an_object_are_records(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [{"data": [{"a": 1}]}, {"data": [{"a": 2}]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert values(path) == lines
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert values(packed) == lines and records.count_records(str(packed)) == 2


def test_a_packed_file_that_is_cut_off_is_named(tmp_path):
    data = gzip.compress("".join(f'{{"n": {i}}}\n' for i in range(50_000)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(AnnotationError, match=r"a\.jsonl\.gz is damaged"):
        values(tmp_path / "a.jsonl.gz")


# --- WebDataset ---------------------------------------------------------------------------------

TALK = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "That."}]


def make_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_samples_of_a_tar_and_the_bytes_inside(tmp_path):
    talk = {"conversations": TALK, "task": "t", "video": "where/it/lay.mp4"}
    path = make_tar(
        tmp_path / "shard-000.tar",
        [
            ("a/0001.mp4", b"first clip"),
            ("a/0001.json", json.dumps(talk).encode()),
            ("a/0002.json", b'{"id": "q2"}'),
            ("a/0002.0.jpg", b"one"),
            ("a/0002.1.jpg", b"two"),
            ("a/0002.txt", "Été.".encode()),
            ("a/" + "0" * 150 + ".MP4", b"long name"),
            ("a/._0003.mp4", b"of a Mac"),
        ],
    )
    first, second, third = kept(path)
    assert {key: v for key, v in first.items() if key != "video"} == {
        "id": "a/0001",
        "conversations": TALK,
        "task": "t",
    }
    assert read_record_bytes(first["video"]) == b"first clip"
    assert second["id"] == "q2" and second["txt"] == "Été."
    assert [read_record_bytes(image) for image in second["image"]] == [b"one", b"two"]
    assert read_record_bytes(third["video"]) == b"long name"
    (example, *_) = read_annotations(path, "/nowhere", "mine", format="conversations")
    assert example.media == (MediaRef("video", first["video"]),)


def test_a_member_is_read_without_going_through_the_tar(tmp_path, monkeypatch):
    names = [(f"{i:06d}.mp4", f"clip {i}".encode()) for i in range(300)]
    path = make_tar(tmp_path / "a.tar", names)
    found = values(path)

    def refuse(*_, **__):
        raise AssertionError("the tar was searched")

    monkeypatch.setattr(tarfile, "open", refuse)
    tar_records._scanned.cache_clear()
    assert read_record_bytes(found[299]["video"]) == b"clip 299"
    assert records.fingerprint_records(str(path))  # what a prepared index is found by
    with pytest.raises(AssertionError):
        values(path)


def test_a_tar_that_has_changed_or_is_damaged_is_named(tmp_path):
    path = make_tar(tmp_path / "a.tar", [("1.mp4", b"x" * 5000), ("2.mp4", b"y" * 5000)])
    before = records.fingerprint_records(str(path))
    second = values(path)[1]["video"]
    make_tar(path, [("1.mp4", b"x" * 9000)])
    with pytest.raises(LookupError, match="no mp4 at byte 6144; it has changed"):
        read_record_bytes(second)
    assert records.fingerprint_records(str(path)) != before
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(AnnotationError, match=r"a\.tar is not a whole tar"):
        values(path)
    bad = make_tar(tmp_path / "b.tar", [("1.json", b"{"), ("2.json", b"{}")])
    rejected, good = values(bad)
    assert rejected.reason == "bad_json" and good == {"id": "2"}


def test_a_folder_of_tars_or_tables(tmp_path):
    for i in range(2):
        make_tar(tmp_path / f"{i}.tar", [(f"{i}.txt", b"x")])
    assert [record["id"] for record in values(tmp_path)] == ["0", "1"]
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "a.csv").write_text("n\n1\n")
    (tables / "b.tsv").write_text("n\n2\n")
    assert kept(tables) == [{"n": 1}, {"n": 2}]
