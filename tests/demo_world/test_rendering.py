"""The pixels confirm the answers."""

import itertools
import re
from collections import defaultdict

import cv2
import numpy as np

from demo_world.rendering import RGB
from demo_world.scenes import COLOURS
from tests.demo_world.small_world import read_clip, records


def coloured(frame, colour):
    """bool[H, W]: pixels near a colour, whatever compression did to them."""
    distance = np.abs(frame.astype(int) - RGB[colour]).sum(-1)
    return distance < 110


def centre(mask):
    rows, columns = np.nonzero(mask)
    return columns.mean() / mask.shape[1], rows.mean() / mask.shape[0]


def blobs(frame):
    """(colour, area, mask) of every coloured blob in a frame."""
    found = []
    for colour in COLOURS:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            coloured(frame, colour).astype(np.uint8)
        )
        areas = stats[:, cv2.CC_STAT_AREA]
        found += [(colour, areas[i], labels == i) for i in range(1, count) if areas[i] > 40]
    return found


def questions_of(world, kind, task):
    found = [record for record in records(world, "test", kind) if record["task"] == task]
    assert len(found) >= 9
    for record in found:
        path = world.media_root / record[kind]
        pixels = read_clip(path) if kind == "video" else cv2.imread(str(path))[..., ::-1]
        yield record["conversations"][0]["value"], record, pixels


def test_count_and_small_colour_in_images(world):
    for _, record, picture in questions_of(world, "image", "count"):
        assert str(len(blobs(picture))) == record["answer"]
    for _, record, picture in questions_of(world, "image", "small_colour"):
        assert min(blobs(picture), key=lambda blob: blob[1])[0] == record["answer"]


def test_larger_exists_and_position_in_images(world):
    for text, record, picture in questions_of(world, "image", "larger"):
        first, second = re.findall("|".join(COLOURS), text)
        areas = {colour: area for colour, area, _ in blobs(picture)}
        assert (areas[first] > areas[second]) == (record["answer"] == "yes")
    for text, record, picture in questions_of(world, "image", "exists"):
        colour = re.search("|".join(COLOURS), text)[0]
        if record["answer"] == "yes":
            assert coloured(picture, colour).sum() > 40
    for text, record, picture in questions_of(world, "image", "position"):
        found = {colour: mask for colour, _, mask in blobs(picture)}
        named = re.search("|".join(COLOURS), text)
        if named is None:
            continue  # the digit, whose strokes may be several blobs
        x, y = centre(found[named[0]])
        sides = {"left": -(x - 0.5), "right": x - 0.5, "top": -(y - 0.5), "bottom": y - 0.5}
        answer = record.get("choices", {}).get(record["answer"], record["answer"])
        assert max(sides, key=sides.get) == answer


def test_each_digit_is_drawn_in_its_own_way(world):
    drawn = defaultdict(list)
    for _, record, clip in questions_of(world, "video", "static_digit"):
        mask = coloured(clip[0], "white")
        rows, columns = np.nonzero(mask)
        crop = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        drawn[record["answer"]].append(cv2.resize(crop.astype(np.float32), (16, 24)))
    assert len(drawn) == 10
    for digit, other in itertools.combinations(drawn, 2):
        assert np.abs(drawn[digit][0] - drawn[other][0]).mean() > 0.04, (digit, other)


def test_direction_and_static_colour_in_clips(world):
    for _, record, clip in questions_of(world, "video", "direction"):
        masks = [np.any([coloured(f, c) for c in COLOURS], axis=0) for f in clip[[0, -1]]]
        (x0, y0), (x1, y1) = (centre(mask) for mask in masks)
        moves = {"left": x0 - x1, "right": x1 - x0, "up": y0 - y1, "down": y1 - y0}
        assert max(moves, key=moves.get) == record["answer"]
    for _, record, clip in questions_of(world, "video", "static_colour"):
        areas = {colour: coloured(clip[len(clip) // 2], colour).sum() for colour in COLOURS}
        assert max(areas, key=areas.get) == record["answer"]


def lit(clip, colour):
    return np.array([coloured(frame, colour).sum() > 60 for frame in clip])


def test_count_flashes_and_brief_events_in_clips(world):
    for _, record, clip in questions_of(world, "video", "count_flashes"):
        flashes = np.diff(lit(clip, "white").astype(int))
        assert str((flashes == 1).sum()) == record["answer"]
        assert not lit(clip[[0, -1]], "white").any()
    for _, record, clip in questions_of(world, "video", "brief_event"):
        areas = np.array([coloured(frame, record["answer"]).sum() for frame in clip])
        brief = areas > np.median(areas) + 150
        assert 4 <= brief.sum() <= 8
        assert not brief[[0, -1]].any()


def test_order_and_first_appearance_in_clips(world):
    for text, record, clip in questions_of(world, "video", "order"):
        starts = {c: int(np.argmax(lit(clip, c))) for c in COLOURS if lit(clip, c).any()}
        if record["format"] == "short":
            assert sorted(starts, key=starts.get)[1] == record["answer"]
        else:
            earlier, later = re.findall("|".join(COLOURS), text)
            assert (starts[earlier] < starts[later]) == (record["answer"] == "yes")
    for _, record, clip in questions_of(world, "video", "appears_first"):
        starts = {c: int(np.argmax(lit(clip, c))) for c in COLOURS if lit(clip, c).any()}
        answer = record.get("choices", {}).get(record["answer"], record["answer"])
        assert min(starts, key=starts.get) == answer.split()[0]


def test_speed_in_clips(world):
    for _, record, clip in questions_of(world, "video", "speed"):
        if record["answer"] in COLOURS:
            ways = {}
            for colour in COLOURS:
                if lit(clip, colour).all():
                    path = np.array([centre(coloured(frame, colour)) for frame in clip])
                    ways[colour] = np.abs(np.diff(path, axis=0)).sum()
            assert len(ways) == 2
            assert max(ways, key=ways.get) == record["answer"]
        else:
            masks = [np.any([coloured(f, c) for c in COLOURS], axis=0) for f in clip]
            path = np.array([centre(mask) for mask in masks])
            middle = len(path) // 2
            early = np.linalg.norm(path[middle] - path[0])
            late = np.linalg.norm(path[-1] - path[middle])
            assert (late > early) == (record["answer"] == "faster")
