"""The demo world: reproducible files, balanced questions, answers that the pixels confirm."""

import itertools
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path

import av
import cv2
import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer

from demo_world import __main__ as entry
from demo_world import generate, generate_world, observer
from demo_world.clip_scenes import full_view_gap, uniform_frames
from demo_world.decks import Decks
from demo_world.rendering import RGB
from demo_world.scenes import COLOURS
from demo_world.tokenizer import SPECIAL_TOKENS

SMALL = {"train_images": 60, "train_clips": 40, "val_images": 9, "val_clips": 7}
SMALL |= {"test_images": 60, "test_clips": 70}
TINY = dict.fromkeys(SMALL, 1)
DOC = Path(__file__).parents[2] / "docs" / "demo_world.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return generate_world(tmp_path_factory.mktemp("demo") / "world", **SMALL)


def records(world, split, kind):
    text = world.annotations(split, kind).read_text()
    return json.loads(text) if split == "train" else [json.loads(x) for x in text.splitlines()]


def read_clip(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def scenes(kind, split, count):
    return list(generate.iter_scenes(kind, split, 0, count))


# --- files ---------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_annotations_and_pixels(world, tmp_path):
    again = generate_world(tmp_path / "again", **SMALL)
    for split, kind in itertools.product(generate.SPLITS, ("image", "video")):
        first, second = world.annotations(split, kind), again.annotations(split, kind)
        assert first.read_bytes() == second.read_bytes()
    media = sorted(p.relative_to(world.root) for p in world.media_root.glob("media/*/*/*"))
    assert media == sorted(p.relative_to(again.root) for p in again.media_root.glob("media/*/*/*"))
    assert len(media) == sum(SMALL.values())
    for name in media:
        if (world.root / name).read_bytes() == (again.root / name).read_bytes():
            continue
        if name.suffix in (".png", ".jpg"):
            first, second = cv2.imread(str(world.root / name)), cv2.imread(str(again.root / name))
        else:
            first, second = read_clip(world.root / name), read_clip(again.root / name)
        assert np.array_equal(first, second), name
    tokenizers = [w.tokenizer / "tokenizer.json" for w in (world, again)]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_another_seed_gives_another_world(world, tmp_path):
    other = generate_world(tmp_path / "other", seed=1, **TINY)
    assert records(other, "train", "image")[0] != records(world, "train", "image")[0]


def test_splits_share_no_picture_and_no_clip(world):
    owners = {}
    for path in sorted(world.media_root.glob("media/*/*/*")):
        image = path.suffix in (".png", ".jpg")
        pixels = cv2.imread(str(path)) if image else read_clip(path)
        other = owners.setdefault(hash(pixels.tobytes()), path)
        assert other == path
    scenes_of = {
        split: {scene for kind in ("image", "video") for scene, _ in scenes(kind, split, 400)}
        for split in generate.SPLITS
    }
    assert all(len(found) == 800 for found in scenes_of.values())
    assert len(set.union(*scenes_of.values())) == 2400


def test_a_longer_split_begins_with_the_shorter_one():
    assert scenes("video", "val", 30)[:10] == scenes("video", "val", 10)


def test_a_complete_world_is_left_alone(world):
    before = {path: path.stat().st_mtime_ns for path in world.root.rglob("*")}
    calls = []
    again = generate_world(world.root, **SMALL, progress=lambda *call: calls.append(call))
    assert again == world
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*")} == before


def test_a_damaged_or_different_world_is_replaced(tmp_path):
    world = generate_world(tmp_path / "world", **TINY)
    intact = {p.relative_to(world.root): p.read_bytes() for p in world.root.rglob("*.*")}
    picture = next(world.media_root.glob("media/train/images/*"))
    picture.write_bytes(picture.read_bytes()[:-10])
    generate_world(world.root, **TINY)
    assert {p.relative_to(world.root): p.read_bytes() for p in world.root.rglob("*.*")} == intact

    generate_world(world.root, **TINY | {"test_images": 2})
    assert json.loads(world.summary.read_text())["counts"]["test/images"]["media"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["world"]


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(generate, "write_video", fail)
    with pytest.raises(OSError, match="disk full"):
        generate_world(tmp_path / "world", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_foreign_directories_and_bad_numbers_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match="not a demo world"):
        generate_world(tmp_path, **TINY)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    with pytest.raises(ValueError, match="train_clips.*-1"):
        generate_world(tmp_path / "world", train_clips=-1)
    with pytest.raises(ValueError, match="no annotations.*'dev'"):
        generate.WorldPaths(tmp_path).annotations("dev", "image")


def test_progress_counts_every_file(tmp_path):
    calls = []
    generate_world(tmp_path / "world", **TINY, progress=lambda *call: calls.append(call))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_entry_prints_counts(tmp_path, monkeypatch, capsys):
    flags = [f"--{name.replace('_', '-')}=1" for name in TINY]
    monkeypatch.setattr("sys.argv", ["demo_world", f"--out={tmp_path / 'world'}", *flags])
    entry.main()
    printed = capsys.readouterr().out
    assert re.search(r"train/images +1 files +1 records", printed)
    assert cv2.imread(str(tmp_path / "world" / "contact_sheet.png")).shape[1] > 1000


def test_media_files_are_as_promised(world):
    for path in world.media_root.glob("media/*/images/*"):
        assert cv2.imread(str(path)).shape[:2] in ((112, 112), (84, 140), (140, 84))
    containers = Counter()
    for path in world.media_root.glob("media/*/videos/*"):
        containers[path.suffix] += 1
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
            rate = float(stream.average_rate)
        assert (stream.width, stream.height) in ((128, 128), (144, 96))
        assert 24 <= len(frames) <= 96
        assert 8 <= round(rate) <= 16
        assert 1.95 <= len(frames) / rate <= 8.05
        assert np.allclose(frames, np.arange(len(frames)) / round(rate), atol=0.002)
    assert containers[".webm"] / containers.total() == pytest.approx(0.2, abs=0.03)


# --- annotations ---------------------------------------------------------------------------------


def test_training_records_are_llava_conversations(world):
    for kind in ("image", "video"):
        for record in records(world, "train", kind):
            turns = record["conversations"]
            assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
            tags = [turn["value"].count(f"<{kind}>") for turn in turns]
            assert tags == [1] + [0] * (len(turns) - 1)
            assert turns[0]["value"].startswith(f"<{kind}>\n")
            assert (world.media_root / record[kind]).is_file()
            questions = [turn["value"] for turn in turns[::2]]
            assert len(set(questions)) == len(questions) <= (4 if kind == "image" else 1)
    clips = Counter(record["video"] for record in records(world, "train", "video"))
    assert set(clips.values()) == {2}


def test_evaluation_records_carry_what_scoring_needs(world):
    for split, kind in itertools.product(("val", "test"), ("image", "video")):
        found = records(world, split, kind)
        assert len({record["id"] for record in found}) == len(found)
        for record in found:
            human, reference = record["conversations"]
            assert reference["value"] == record["answer"]
            assert 0 < record["chance"] <= 0.5
            if record["format"] == "choice":
                listed = re.findall(r"^([A-D])\. (.+)$", human["value"], re.MULTILINE)
                assert dict(listed) == record["choices"]
                assert record["answer"] in record["choices"]
                assert record["chance"] == 1 / len(record["choices"])
            if record["format"] == "yes_no":
                assert record["answer"] in ("yes", "no")
            if record["format"] == "caption":
                assert all(slot in record["answer"] for slot in record["slots"])
            hint = {"choice": "letter.", "yes_no": "Answer yes or no.", "short": "Answer with"}
            assert hint.get(record["format"], "<") in human["value"]


@pytest.mark.parametrize("kind, tasks", [("image", 8), ("video", 9)])
def test_tasks_and_answers_are_balanced(kind, tasks):
    found = [question for _, questions in scenes(kind, "test", 400) for question in questions]
    per_task = Counter(question.task for question in found)
    assert len(per_task) == tasks
    assert max(per_task.values()) - min(per_task.values()) <= 1
    answers = defaultdict(Counter)
    for question in found:
        if question.task != "caption":
            # One task may be asked in two ways with different answers: each is balanced.
            group = (question.task, question.format, question.answer in COLOURS)
            answers[group][question.answer] += 1
    for group, counts in answers.items():
        assert max(counts.values()) - min(counts.values()) <= 3, (group, counts)


def _score(question, prediction):
    if question.slots:
        return sum(slot in prediction for slot in question.slots) / len(question.slots)
    return float(prediction == question.answer)


def _words(question):
    words = re.findall(r"\w+|\S", question.text)
    return set(words) | {f"{place}:{word}" for place, word in enumerate(words)}


def _majority(train, key):
    counts = defaultdict(Counter)
    for question in train:
        counts[key(question)][question.answer] += 1
    best = {name: max(sorted(c), key=c.get) for name, c in counts.items()}
    return lambda question: best.get(key(question), "")


def _naive_bayes(train):
    by_task = defaultdict(lambda: defaultdict(Counter))
    totals = defaultdict(Counter)
    for question in train:
        totals[question.task][question.answer] += 1
        by_task[question.task][question.answer].update(_words(question))

    def predict(question):
        def log_score(answer):
            counts, total = by_task[question.task][answer], totals[question.task][answer]
            likelihood = sum(math.log((counts[w] + 0.5) / (total + 1)) for w in _words(question))
            return math.log(total) + likelihood

        return max(sorted(totals[question.task]), key=log_score)

    return predict


@pytest.mark.parametrize("kind", ["image", "video"])
def test_words_of_a_question_tell_nothing_about_its_answer(kind):
    train = [q for _, questions in scenes(kind, "train", 2000) for q in questions]
    test = [q for _, questions in scenes(kind, "test", 1000) for q in questions]
    predictors = {
        "majority of the task": _majority(train, lambda q: q.task),
        "majority of the question": _majority(train, lambda q: (q.task, q.text)),
        "naive Bayes": _naive_bayes([q for q in train if q.task != "caption"]),
    }
    for name, predict in predictors.items():
        by_task = defaultdict(list)
        for question in test:
            if name == "naive Bayes" and question.task == "caption":
                continue  # as many answers as scenes: there is nothing to learn from words
            by_task[question.task].append((_score(question, predict(question)), question.chance))
        for task, pairs in by_task.items():
            score, chance = np.mean(pairs, axis=0)
            margin = 3 * math.sqrt(chance * (1 - chance) / len(pairs))
            assert score < chance + margin, (name, task, score, chance)


def test_the_stated_chance_of_captions_is_that_of_the_best_fixed_caption():
    captions = {"image": "a small red circle on the left and a large blue square on the right"}
    captions["video"] = "a red circle moves left"
    for kind, fixed in captions.items():
        asked = [q for _, qs in scenes(kind, "test", 3000) for q in qs if q.task == "caption"]
        score = np.mean([_score(question, fixed) for question in asked])
        assert score == pytest.approx(asked[0].chance, abs=0.03)


# --- pixels confirm the answers ------------------------------------------------------------------


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


# --- how many frames a question needs ------------------------------------------------------------


def test_few_frames_lose_the_harder_answers_and_sixteen_keep_them():
    settled = {
        task: {count: share for count, (share, _) in by_count.items()}
        for task, by_count in observer.table(generate.iter_scenes("video", "test", 0, 1000)).items()
    }
    assert all(by_count[16] > 0.98 for by_count in settled.values())
    for task in ("static_digit", "static_colour", "direction"):
        assert settled[task][2] == 1.0
    for task in ("appears_first", "order", "speed", "count_flashes", "brief_event"):
        assert settled[task][2] == 0.0
        assert settled[task][2] < settled[task][8]
    assert settled["appears_first"][4] > 0.4
    assert settled["order"][4] < 0.3
    assert settled["order"][8] > 0.8
    assert settled["brief_event"][8] < 0.65
    assert settled["count_flashes"][8] < 0.2


def test_every_event_outlasts_the_gaps_of_a_full_view():
    for frames in range(24, 97):
        seen = uniform_frames(frames, 16)
        assert (seen[0], seen[-1], len(seen)) == (0, frames - 1, 16)
        length = full_view_gap(frames)
        for start in range(frames - length + 1):
            assert ((seen >= start) & (seen < start + length)).any()


def test_the_documented_table_is_the_computed_one():
    computed = observer.markdown(observer.table(generate.iter_scenes("video", "test", 0, 2000)))
    assert computed in DOC.read_text()


# --- decks and tokenizer -------------------------------------------------------------------------


def test_decks_deal_every_option_before_any_twice():
    decks = Decks(0, "x")
    dealt = [decks.draw("colour", "RGBY") for _ in range(40)]
    assert all(set(dealt[i : i + 4]) == set("RGBY") for i in range(0, 40, 4))
    assert len({tuple(dealt[i : i + 4]) for i in range(0, 40, 4)}) > 3
    assert dealt == [Decks.draw(d, "colour", "RGBY") for d in [Decks(0, "x")] for _ in range(40)]
    with pytest.raises(ValueError, match="'colour' holds 4 options, was asked for 2"):
        decks.draw("colour", "RG")


def test_tokenizer_knows_the_words_of_the_world(world):
    tokenizer = Tokenizer.from_file(str(world.tokenizer / "tokenizer.json"))
    assert 450 <= tokenizer.get_vocab_size() <= 700
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    size = tokenizer.get_vocab_size()
    assert ids == list(range(size - len(SPECIAL_TOKENS), size))
    texts = [
        turn["value"].removeprefix(f"<{kind}>\n")
        for kind in ("image", "video")
        for record in records(world, "test", kind)
        for turn in record["conversations"]
    ]
    for text in [*texts, "Ünseen wörds — 你好\n\t 12345", "".join(SPECIAL_TOKENS)]:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    # Every word is one token; some punctuation is joined to the line end after it.
    words = sum(len(re.findall(r"\w+|[^\w\s]|\n", text)) for text in texts)
    assert sum(len(tokenizer.encode(text).ids) for text in texts) <= words
    for answer in (*COLOURS, "left", "yes", "no", "faster", "7", "B"):
        assert len(tokenizer.encode(answer).ids) == 1


def test_chat_template_is_qwens_format(world):
    config = json.loads((world.tokenizer / "tokenizer_config.json").read_text())
    template = jinja2.Environment().from_string(config["chat_template"])
    content = [{"type": "image"}, {"type": "text", "text": "Count."}, {"type": "video"}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "3"}]
    expected = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Count."
        "<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n"
    )
    assert template.render(messages=messages) == expected
    prompt = template.render(messages=messages[:1], add_generation_prompt=True)
    assert prompt == expected[: expected.index("3<|im_end|>")]
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert template.render(messages=own) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    )
    numbered = template.render(messages=messages, add_vision_id=True)
    assert "Picture 1: <|vision_start|><|image_pad|>" in numbered
    assert "Video 1: <|vision_start|><|video_pad|>" in numbered
