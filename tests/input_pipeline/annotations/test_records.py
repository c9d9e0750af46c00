"""Records of JSON, Parquet and TFDS files, and the bytes inside them."""

import json
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from input_pipeline.annotations import AnnotationError, read_annotations, records
from input_pipeline.annotations.records import json_records, parquet_records, read_record_bytes
from input_pipeline.examples import MediaRef


def values(path):
    return [record.value for record in records.read_records(str(path))]


# --- JSON ---------------------------------------------------------------------------------------


def _random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [_random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {f"k{i}]": _random_value(rng, depth + 1) for i in range(rng.randrange(4))}
    return [
        rng.randrange(-(10**12), 10**12),
        rng.random() * 10 ** rng.randrange(-9, 9),
        'text with ", [ and \\ and é 日本 \n' * rng.randrange(3),
        None,
        True,
        "",
    ][kind]


@pytest.mark.parametrize("window", [1, 2, 7, 64, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_read_as_json_load_reads_it(tmp_path, monkeypatch, window, indent):
    monkeypatch.setattr(json_records, "_READ_CHARACTERS", window)
    rng = random.Random(0)
    expected = [_random_value(rng) for _ in range(40)]
    path = tmp_path / "list.json"
    path.write_text(f" \n{json.dumps(expected, indent=indent, ensure_ascii=False)}\n ")
    assert values(path) == expected
    assert records.count_records(str(path)) == 40
    path.write_text(" [ ] ")
    assert list(json_records.read(str(path))) == []


@pytest.mark.parametrize("window", [1, 5, 2**20])
@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "[1 2]",
        "[1,]",
        "[1, 2] 3",
        "[",
        '["a", "b]',
        '[{"a": 1},\n {"b": }]',
        "[tru]",
        '[\n1,\n\n  {"a": [1,\n 2}]',
        '["a\nb"]',
        "[1, 2}",
    ],
)
def test_a_damaged_list_is_named_where_json_names_it(tmp_path, monkeypatch, window, text):
    monkeypatch.setattr(json_records, "_READ_CHARACTERS", window)
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(AnnotationError) as caught:
        values(path)
    place = f"line {expected.value.lineno}, column {expected.value.colno}"
    if text not in ("[1,]", "["):  # json places these at the bracket, or says them otherwise
        assert place in str(caught.value), (str(caught.value), expected.value)


def test_a_long_list_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"id": i, "text": "x" * 1000} for i in range(20_000)]))
    assert path.stat().st_size > 20 * 10**6
    tracemalloc.start()
    assert sum(1 for _ in records.read_records(str(path))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_space_without_end_takes_no_time(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"[" + b" " * (32 * 2**20) + b'{"a": 1}' + b"\n" * (32 * 2**20) + b"]")
    start = time.process_time()
    assert [value for _, value in json_records.read(str(path))] == [{"a": 1}]
    assert time.process_time() - start < 3  # 5 s, a character at a time


def test_a_record_beyond_the_bound_ends_the_search_for_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "MAX_RECORD_BYTES", 5000)
    monkeypatch.setattr(json_records, "_READ_CHARACTERS", 100)
    path = tmp_path / "list.json"
    path.write_text('[1, {"a": "' + "x" * 20_000)
    with pytest.raises(AnnotationError, match="line 1, column 11: Unterminated string"):
        values(path)


def test_several_files_count_on(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    (tmp_path / "b.jsonl").write_text('{"n": 3}\n')
    for place in (tmp_path, tmp_path / "*.jsonl"):
        found = list(records.read_records(str(place)))
        assert [(r.place, r.number, r.value["n"]) for r in found] == [
            (0, 1, 1),
            (2, 3, 2),
            (3, 1, 3),
        ]
        assert records.count_records(str(place)) == 4  # lines, the blank one too
    before = records.fingerprint_records(str(tmp_path))
    (tmp_path / "b.jsonl").write_text('{"n": 4}\n')
    assert records.fingerprint_records(str(tmp_path)) != before
    with pytest.raises(AnnotationError, match="no such Parquet or JSON files"):
        values(tmp_path / "*.nothing")


# --- Parquet ------------------------------------------------------------------------------------

MEDIUM = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def _parquet(folder, rows, schema, group=2, name="data.parquet"):
    path = folder / name
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group)
    return path


def _rows(count=5):
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    return [
        {
            "id": f"k{i}",
            "image": {"bytes": b"picture %d" % i, "path": f"{i}.png"},
            "conversations": talk,
        }
        for i in range(count)
    ]


SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "image": MEDIUM,
        "conversations": pa.list_(pa.struct({"from": pa.string(), "value": pa.string()})),
    }
)


def test_media_bytes_become_references_that_lead_back(tmp_path):
    path = _parquet(tmp_path, _rows(), SCHEMA)
    examples = list(read_annotations(path, "/media", "mine"))
    assert [example.id for example in examples] == ["k0", "k1", "k2", "k3", "k4"]
    for i, example in enumerate(examples):
        assert example.media == (MediaRef("image", f"record:{path}#{i}/image/bytes"),)
        assert read_record_bytes(example.media[0].path) == b"picture %d" % i
    assert records.count_records(str(path)) == 5


def test_bytes_that_every_row_has_are_not_read(tmp_path, monkeypatch):
    path = _parquet(tmp_path, _rows(), SCHEMA)
    asked = []
    iter_batches = pq.ParquetFile.iter_batches

    def spy(self, *args, columns, **options):
        asked.append(set(columns))
        return iter_batches(self, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    values(path)
    assert len(asked) == 3 and not any("image.bytes" in columns for columns in asked)
    rows = _rows()
    rows[2]["image"] = {"bytes": None, "path": "shared/2.png"}  # only its group is read
    asked.clear()
    found = values(_parquet(tmp_path, rows, SCHEMA))
    assert ["image.bytes" in columns for columns in asked] == [False, True, False]
    assert found[2]["image"] == {"bytes": None, "path": "shared/2.png"}
    assert found[3]["image"]["bytes"] == f"record:{path}#3/image/bytes"


def test_lists_of_media_plain_bytes_and_missing_ones(tmp_path):
    schema = pa.schema(
        {"images": pa.list_(MEDIUM), "video": pa.binary(), "n": pa.float64(), "d": pa.date32()}
    )
    one, two = ({"bytes": name, "path": None} for name in (b"one", b"two"))
    rows = [
        {"images": [one, two], "video": b"v0", "n": float("nan")},
        {"images": [], "video": None, "n": 2.0},
        {"images": None, "video": b"v2"},
    ]
    path = _parquet(tmp_path, rows, schema, group=3)
    first, second, third = values(path)
    assert [read_record_bytes(image["bytes"]) for image in first["images"]] == [b"one", b"two"]
    assert read_record_bytes(first["video"]) == b"v0" and first["n"] is None
    assert (second["images"], second["video"], second["n"]) == ([], None, 2.0)
    assert third["images"] is None and read_record_bytes(third["video"]) == b"v2"


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("record:{path}#5/image/bytes", LookupError, "no row 5"),
        ("record:{path}#0/picture", LookupError, "no column 'picture'"),
        ("record:{path}#0/image/path", LookupError, "no bytes under 'image/path'"),
        ("record:{path}#0/image/1/bytes", LookupError, "no bytes"),
        ("record:{path}.gone#0/image", OSError, "gone"),
        ("record:{path}", ValueError, "not a record reference"),
    ],
)
def test_references_that_lead_nowhere(tmp_path, reference, error, message):
    path = _parquet(tmp_path, _rows(), SCHEMA)
    with pytest.raises(error, match=message):
        read_record_bytes(reference.format(path=path))


def test_kept_columns_are_bounded(tmp_path, monkeypatch):
    path = _parquet(tmp_path, _rows(8), SCHEMA)
    monkeypatch.setattr(parquet_records, "_CACHED_BYTES", 60)
    reader = parquet_records._Reader(str(path))
    for _ in range(2):
        found = [reader.read_bytes(i, ("image", "bytes")) for i in range(8)]
        assert found == [b"picture %d" % i for i in range(8)]
        assert 1 <= len(reader._columns) <= 2


def test_damaged_parquet_is_named(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(AnnotationError, match="data.parquet is not usable Parquet"):
        values(path)


def test_question_answer_columns(tmp_path):
    schema = pa.schema(
        {"question": pa.string(), "answer": pa.int64(), "options": pa.list_(pa.string()),
         "image": MEDIUM}
    )  # fmt: skip
    row = {
        "question": "Which?",
        "answer": 1,
        "options": ["red", "blue"],
        "image": _rows()[0]["image"],
    }
    (example,) = read_annotations(_parquet(tmp_path, [row], schema), "/media", "mine")
    assert example.turns[1].text == "B" and len(example.media) == 1


def test_annotations_at_an_address(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    lines = json.dumps({"id": "a", "image": "a.png", "conversations": talk})
    parquet = _parquet(tmp_path, _rows(), SCHEMA).read_bytes()
    for name, data in (("a.jsonl", lines.encode()), ("a.parquet", parquet)):
        fsspec.filesystem("memory").pipe(f"/here/{name}", data)
    assert records.fingerprint_records("memory://here/a.jsonl") != records.fingerprint_records(
        "memory://here/a.parquet"
    )
    (example,) = read_annotations("memory://here/a.jsonl", "gs://bucket/media", "mine")
    assert example.media == (MediaRef("image", "gs://bucket/media/a.png"),)
    inside = list(read_annotations("memory://here/a.parquet", "/media", "mine"))
    assert [read_record_bytes(e.media[0].path) for e in inside] == [
        b"picture %d" % i for i in range(5)
    ]
    with pytest.raises(AnnotationError, match="memory://here/gone.json cannot be read"):
        values("memory://here/gone.json")
    with pytest.raises(AnnotationError, match="nosuch://a.json cannot be read.*install"):
        values("nosuch://a.json")


# --- TFDS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """A TFDS set of conversations with one image and a list of images, as users would build it."""
    import io

    import cv2
    import tensorflow_datasets as tfds

    picture = cv2.imencode(".png", np.full((8, 6, 3), 7, np.uint8))[1].tobytes()
    text = tfds.features.Text()

    class Mine(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(),
                "images": tfds.features.Sequence(tfds.features.Image()),
                "clip_bytes": tfds.features.Tensor(shape=(), dtype=np.object_),
                "conversations": tfds.features.Sequence({"from": text, "value": text}),
                "task": tfds.features.ClassLabel(names=["count", "order"]),
                "score": np.float32,
                "system": text,
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            for i in range(4):
                yield (
                    i,
                    {
                        "image": io.BytesIO(picture),
                        "images": [io.BytesIO(picture) for _ in range(i)],
                        "clip_bytes": b"clip %d" % i,
                        "conversations": [
                            {"from": "human", "value": "<image>" * (1 + i) + f"Number {i}?"},
                            {"from": "gpt", "value": "That."},
                        ],
                        "task": i % 2,
                        "score": i / 2,
                        "system": "",
                    },
                )

    builder = Mine(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir, picture


def test_tfds_records_and_the_bytes_inside(tfds_folder):
    folder, picture = tfds_folder
    found = {}
    for record in records.read_records(f"{folder}/train"):
        value = record.value
        number = int(value["conversations"][0]["value"][-2])
        found[number] = value
        assert value["conversations"][1] == {"from": "gpt", "value": "That."}
        assert value["task"] == ("count", "order")[number % 2]
        assert value["score"] == number / 2 and value["system"] is None
        assert len(value["images"]) == number
        for reference in (value["image"], *value["images"]):
            assert read_record_bytes(reference) == picture
        assert read_record_bytes(value["clip_bytes"]) == b"clip %d" % number
    assert sorted(found) == [0, 1, 2, 3] and records.count_records(f"{folder}/train") == 4
    examples = list(read_annotations(f"{folder}/train", "/media", "mine"))
    assert sorted(len(example.media) for example in examples) == [1, 2, 3, 4]


def test_a_tfds_split_must_be_named_and_known(tfds_folder):
    folder, _ = tfds_folder
    for path in (folder, f"{folder}/validation"):
        with pytest.raises(AnnotationError, match=r"splits \['test', 'train'\]: name one"):
            values(path)
    with pytest.raises(LookupError, match="nothing under 'nope'"):
        read_record_bytes(f"record:{folder}/train#0/nope")


def test_pyarrow_is_imported_where_it_is_needed():
    code = "import sys; import input_pipeline.annotations; sys.exit('pyarrow' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
