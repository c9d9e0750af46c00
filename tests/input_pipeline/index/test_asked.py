"""What the data says of a medium's frames and sizes comes before the policy and the layout."""

import dataclasses
import json

import cv2

from input_pipeline.index import DatasetSpec, ExampleStore, prepare
from tests.input_pipeline.media_fixtures import painted_frame


def rows(tmp_path, corpus, records):
    """(clip budgets, why, layout of the first medium) of each record, and the summary's notes."""
    root, spec = corpus
    (tmp_path / "a.json").write_text(
        json.dumps([{"question": f"How {i}?", "answer": "two", **r} for i, r in enumerate(records)])
    )
    dataset = DatasetSpec("mine", str(tmp_path / "a.json"), str(root))
    path, summary = prepare(dataset, spec, tmp_path / "index")
    store = ExampleStore.open(path)
    found = [(store[i][1].media[0], store.why(i)) for i in range(len(store))]
    return found, summary["notes"]


def test_frames_and_sizes_in_the_data(tmp_path, corpus):
    records = [
        {"video": "good.mp4"},
        {"video": "good.mp4", "nframes": 6},
        {"video": "good.mp4", "fps": 10},  # 24 frames at 25 frames/s
        {"video": "good.mp4", "fps": 25},  # what it is
        {"video": "good.mp4", "max_pixels": 784},
        {"image": "still.png", "min_pixels": 112 * 112},
    ]
    found, notes = rows(tmp_path, corpus, records)
    frames = [len(layout.frame_indices) for layout, _ in found]
    assert frames == [16, 6, 8, 16, 16, 1]  # 9.6, rounded down to pairs as in qwen-vl-utils
    assert [why for _, why in found][:4] == [
        "16: fixed",
        "6: fixed, as the data asks",
        "8: 1.0 s at 10 frames/s, as the data asks",
        "16: fixed",
    ]
    assert [(layout.height, layout.width) for layout, _ in found][4:] == [(28, 28), (112, 112)]
    (note,) = notes
    assert note.startswith(
        "5 of 6 examples have fps, nframes, min_pixels or max_pixels of their own"
    )
    assert "record 2" in note


def test_a_list_of_pictures_has_its_own_times(tmp_path, corpus):
    root, _ = corpus
    for number in range(4):
        cv2.imwrite(str(root / f"{number}.png"), painted_frame(number))
    record = {"video": [f"{n}.png" for n in (2, 0, 3, 1)], "timestamps": [5, 6, 8, 11]}
    ((layout, _),), notes = rows(tmp_path, corpus, [record])
    assert (layout.frame_indices, layout.frame_times) == ((0, 1, 2, 3), (0.0, 1.0, 3.0, 6.0))
    assert notes == []


def test_a_question_of_its_own_beside_the_words(tmp_path, corpus):
    """The frames follow "frame_question"; the model is shown all words."""
    root, spec = corpus
    spec = dataclasses.replace(spec, frame_policy={"kind": "instruction", "candidates": [4, 8, 16]})
    words = "In chronological order: what colour is the car?"
    records = [{"question": words}, {"question": words, "frame_question": "What colour is it?"}]
    found, notes = rows(tmp_path, (root, spec), [{"video": "good.mp4", **r} for r in records])
    assert [why for _, why in found] == [
        "16: asks for every event (+)",
        "4: asks for a colour (-)",
    ]
    assert notes == []
