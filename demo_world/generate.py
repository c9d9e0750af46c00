"""Builds the demo world on disk: media files, LLaVA annotations, tokenizer, world.json."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from demo_world import clip_questions, image_questions
from demo_world.building import SUMMARY, build_whole, write_annotations
from demo_world.clip_scenes import sample_clip
from demo_world.contact_sheet import write_contact_sheet
from demo_world.decks import Decks, stream
from demo_world.encoding import SUFFIX, write_image, write_video
from demo_world.image_scenes import sample_image
from demo_world.questions import Question, conversation
from demo_world.rendering import draw_clip, draw_image
from demo_world.scenes import Scene
from demo_world.tokenizer import chat_texts, write_tokenizer
from demo_world.told import text_records

# Raise it with every change that gives other files for the same parameters.
VERSION = 7

SPLITS = ("train", "val", "test")
# Parts of a kind beside what is trained on, or judged by: evaluation's "other" tasks, and the clip
# questions for a "base" model, of every fifth clip and of the tasks that it is judged by.
PARTS = ("", "other", "base")
_BASE_CLIPS = 5
Progress = Callable[[int, int], None]

_SAMPLERS = {
    "image": (sample_image, image_questions),
    "video": (sample_clip, clip_questions),
}
_IMAGE_CODECS = ("png", "jpeg")
_VIDEO_CODECS = ("h264", "h264", "h264", "h264", "webm")
_TEXT_SCENES = 600  # of each kind, for the tokenizer's training text


@dataclasses.dataclass(frozen=True)
class WorldPaths:
    """Where everything of one world lies; media paths in annotations are relative to `root`."""

    root: Path

    @property
    def media_root(self) -> Path:
        """The directory that media paths are relative to."""
        return self.root

    def annotations(self, split: str, kind: str, part: str = "") -> Path:
        """The annotation file of a split ("train", "val", "test"), a kind ("image", "video",
        "text") and one of `PARTS`. Raises ValueError for others."""
        if split not in SPLITS or kind not in (*_SAMPLERS, "text") or part not in PARTS:
            raise ValueError(f"no annotations for split {split!r}, kind {kind!r}, part {part!r}")
        name = f"{kind}s{part and '_'}{part}"
        return self.root / split / f"{name}.{'json' if split == 'train' else 'jsonl'}"

    def held_texts(self, split: str) -> Path:
        """Texts of "val" or "test" that no question is about, a "text" a record."""
        return self.root / split / "held_texts.jsonl"

    @property
    def tokenizer(self) -> Path:
        """Directory with tokenizer.json and tokenizer_config.json."""
        return self.root / "tokenizer"

    @property
    def contact_sheet(self) -> Path:
        """A picture of some examples with their questions."""
        return self.root / "contact_sheet.png"

    @property
    def summary(self) -> Path:
        """world.json: parameters, version, counts and content hash."""
        return self.root / SUMMARY


def iter_scenes(
    kind: str, split: str, seed: int, count: int
) -> Iterator[tuple[Scene, list[Question]]]:
    """The scenes of a split in order, with their questions, before anything is drawn.

    kind: "image" or "video". Scene `number` depends on (seed, split, number) and on the decks that
    balance answers; a longer split begins with the same scenes as a shorter one.
    """
    sample, questions = _SAMPLERS[kind]
    decks = Decks(seed, kind, split)
    for number in range(count):
        rng = stream(seed, kind, split, number)
        scene = sample(rng, decks)
        ask = questions.training_questions if split == "train" else questions.evaluation_questions
        yield scene, ask(scene, rng, decks)


def generate_world(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    train_images: int = 4000,
    train_clips: int = 2500,
    val_images: int = 150,
    val_clips: int = 150,
    test_images: int = 400,
    test_clips: int = 400,
    train_texts: int = 800,
    val_texts: int = 75,
    test_texts: int = 200,
    progress: Progress | None = None,
) -> WorldPaths:
    """Builds a world at `directory`, or finds the complete one with these parameters there.

    It is there whole or not at all, and a damaged one, or one with other parameters, is replaced:
    see `build_whole`. progress: called with the number of media files written and their total.

    Raises FileExistsError when `directory` holds something that is not a demo world, ValueError
    for a negative or fractional parameter.
    """
    parameters = {
        "seed": seed,
        "train_images": train_images,
        "train_clips": train_clips,
        "val_images": val_images,
        "val_clips": val_clips,
        "test_images": test_images,
        "test_clips": test_clips,
        "train_texts": train_texts,
        "val_texts": val_texts,
        "test_texts": test_texts,
    }
    for name, value in parameters.items():
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")
    root = build_whole(
        directory,
        "demo world",
        {"version": VERSION, "parameters": parameters},
        lambda building: _build(WorldPaths(building), parameters, progress),
    )
    return WorldPaths(root)


def _build(
    paths: WorldPaths, parameters: Mapping[str, int], progress: Progress | None
) -> dict[str, Any]:
    """Writes everything but world.json; what that one says of it beside the parameters."""
    jobs = [
        (kind, split, parameters[f"{split}_{noun}"])
        for split in SPLITS
        for kind, noun in (("image", "images"), ("video", "clips"))
    ]
    total, done = sum(count for _, _, count in jobs), 0
    counts = {}
    for kind, split, count in jobs:
        media = Path("media") / split / f"{kind}s"
        (paths.root / media).mkdir(parents=True)
        paths.annotations(split, kind).parent.mkdir(exist_ok=True)
        records = []
        for number, (scene, questions) in enumerate(
            iter_scenes(kind, split, parameters["seed"], count)
        ):
            name = media / f"{number:05d}{_write_media(paths.root / media, number, kind, scene)}"
            records += _records(split, kind, number, name, questions)
            done += 1
            if progress is not None:
                progress(done, total)
        for part, chosen in _parts(split, kind, records).items():
            path = paths.annotations(split, kind, part)
            write_annotations(path, chosen)
            media_of = count if not part else len({record[kind] for record in chosen})
            counts[f"{split}/{path.stem}"] = {"media": media_of, "records": len(chosen)}
    for split in SPLITS:
        counts |= _write_texts(paths, split, parameters["seed"], parameters[f"{split}_texts"])
    write_tokenizer(paths.tokenizer, _texts(parameters["seed"]))
    write_contact_sheet(paths.contact_sheet, parameters["seed"], iter_scenes)
    return {"counts": counts}


def _write_media(folder: Path, number: int, kind: str, scene: Scene) -> str:
    """Draws and writes one file; its suffix. Formats depend on the number alone, not on answers."""
    if kind == "image":
        codec = _IMAGE_CODECS[number % len(_IMAGE_CODECS)]
        write_image(folder / f"{number:05d}{SUFFIX[codec]}", draw_image(scene), codec)
        return SUFFIX[codec]
    codec = _VIDEO_CODECS[number % len(_VIDEO_CODECS)]
    if codec == "webm":
        codec = ("vp8", "vp9")[number // len(_VIDEO_CODECS) % 2]
    write_video(folder / f"{number:05d}{SUFFIX[codec]}", draw_clip(scene), scene.fps, codec)
    return SUFFIX[codec]


def _records(
    split: str, kind: str, number: int, media: Path, questions: list[Question]
) -> list[dict[str, Any]]:
    """The annotation records of one scene in LLaVA format."""
    name = f"{split}-{kind}-{number:05d}"
    if split == "train" and kind == "image":
        said = conversation(questions, kind)
        tasks = [question.task for question in questions]
        return [{"id": name, kind: media.as_posix(), "conversations": said, "tasks": tasks}]
    records = []
    for letter, question in zip("abcd", questions, strict=False):
        record = {
            "id": f"{name}-{letter}",
            kind: media.as_posix(),
            "conversations": conversation([question], kind),
        }
        extra = {"task": question.task} if split == "train" else question.scoring()
        records.append(record | extra)
    return records


def _parts(split: str, kind: str, records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The records of each annotation file of a split."""
    judged = _SAMPLERS[kind][1].JUDGED
    if split != "train":
        known, other = (
            [r for r in records if (r["task"] in judged) is is_known] for is_known in (True, False)
        )
        return {"": known, "other": other}
    if kind == "image":
        return {"": records}
    clips = {clip: number for number, clip in enumerate(dict.fromkeys(r[kind] for r in records))}
    base = [r for r in records if r["task"] in judged and clips[r[kind]] % _BASE_CLIPS == 0]
    return {"": records, "base": base}


def _write_texts(paths: WorldPaths, split: str, seed: int, count: int) -> dict[str, dict[str, int]]:
    """The annotations of text alone. Returns the counts of the files, in which a picture that is
    told stands for a medium."""
    counts = {}
    asked, held = text_records(split, seed, count)
    files = {paths.annotations(split, "text"): (count, asked)}
    if split != "train":
        files[paths.held_texts(split)] = (len(held), held)
    for path, (told, records) in files.items():
        write_annotations(path, records)
        counts[f"{split}/{path.stem}"] = {"media": told, "records": len(records)}
    return counts


def _texts(seed: int) -> Iterator[str]:
    """What the tokenizer is trained on: the world's wordings, however few scenes are built."""
    for kind in _SAMPLERS:
        for _, questions in iter_scenes(kind, "train", seed, _TEXT_SCENES):
            for question in questions:
                yield from chat_texts(question.text, question.answer)
