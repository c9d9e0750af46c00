"""Layouts as values: to JSON and back."""

import dataclasses
import json

from input_pipeline.layout import ExampleLayout, MediaLayout
from input_pipeline.layout import vision_layout as module

CLIP = MediaLayout(
    kind="video",
    frame_indices=(0, 5),
    frame_times=(0.0, 0.1668),
    height=56,
    width=84,
    grid=(1, 4, 6),
    patches=24,
    tokens=6,
    placeholders=2,
    interval=0.25,
    source_size=(360, 640),
)


def test_json_round_trip():
    """Every field has another value than its default."""
    fields = dataclasses.fields(MediaLayout)
    assert all(getattr(CLIP, field.name) != field.default for field in fields)
    layout = ExampleLayout((CLIP, dataclasses.replace(CLIP, kind="image")), 19, 48, "pixels")
    assert ExampleLayout.from_json(layout.to_json()) == layout
    assert hash(ExampleLayout.from_json(layout.to_json())) == hash(layout)


def test_a_new_field_is_read_back_and_may_be_missing(monkeypatch):
    """Records from before a field was there take its default."""

    @dataclasses.dataclass(frozen=True)
    class Wider(MediaLayout):
        margins: tuple[int, ...] = ()

    old = ExampleLayout((CLIP,), 19, 24, "").to_json()
    monkeypatch.setattr(module, "MediaLayout", Wider)
    (found,) = ExampleLayout.from_json(old).media
    assert found == Wider(**vars(CLIP))
    new = ExampleLayout((Wider(**vars(CLIP), margins=(1, 2)),), 19, 24, "")
    assert json.loads(new.to_json())["media"][0]["margins"] == [1, 2]
    assert ExampleLayout.from_json(new.to_json()) == new
