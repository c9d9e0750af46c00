"""Builds the demo world on disk: media files, LLaVA annotations, tokenizer, world.json."""

import dataclasses
import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from demo_world import clip_questions, image_questions
from demo_world.clip_scenes import sample_clip
from demo_world.contact_sheet import write_contact_sheet
from demo_world.decks import Decks, stream
from demo_world.encoding import SUFFIX, write_image, write_video
from demo_world.image_scenes import sample_image
from demo_world.questions import Question
from demo_world.rendering import draw_clip, draw_image
from demo_world.scenes import Scene
from demo_world.tokenizer import SYSTEM_PROMPT, write_tokenizer
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
        return self.root / "world.json"


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

    Built in a sibling directory and renamed when complete, so a half-built world is never seen;
    what a killed build left there goes when the next one begins on the same host.
    A world with other parameters or a damaged one is replaced. progress: called with the number
    of media files written and their total.

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
    paths = WorldPaths(Path(directory).absolute())
    if _is_complete(paths, parameters):
        return paths
    if paths.root.exists() and not paths.summary.exists() and any(paths.root.iterdir()):
        raise FileExistsError(f"{paths.root} is not empty and not a demo world: choose another")
    paths.root.parent.mkdir(parents=True, exist_ok=True)
    begun = f".{paths.root.name}.building-{socket.gethostname()}-"
    _remove_left(paths.root.parent, begun)
    building = paths.root.parent / f"{begun}{os.getpid()}"
    try:
        _build(WorldPaths(building), parameters, progress)
        _swap_in(building, paths, parameters)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return paths


def _build(paths: WorldPaths, parameters: Mapping[str, int], progress: Progress | None) -> None:
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
            _write_annotations(path, chosen)
            media_of = count if not part else len({record[kind] for record in chosen})
            counts[f"{split}/{path.stem}"] = {"media": media_of, "records": len(chosen)}
    for split in SPLITS:
        counts |= _write_texts(paths, split, parameters["seed"], parameters[f"{split}_texts"])
    write_tokenizer(paths.tokenizer, _texts(parameters["seed"]))
    write_contact_sheet(paths.contact_sheet, parameters["seed"], iter_scenes)
    summary = {
        "version": VERSION,
        "parameters": parameters,
        "counts": counts,
        "sha256": _content_hash(paths),
    }
    paths.summary.write_text(json.dumps(summary, indent=2) + "\n")


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
        turns = [turn for number, q in enumerate(questions) for turn in _turns(q, kind, number)]
        tasks = [question.task for question in questions]
        return [{"id": name, kind: media.as_posix(), "conversations": turns, "tasks": tasks}]
    records = []
    for letter, question in zip("abcd", questions, strict=False):
        record = {
            "id": f"{name}-{letter}",
            kind: media.as_posix(),
            "conversations": _turns(question, kind, 0),
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


def _turns(question: Question, kind: str, number: int) -> list[dict[str, str]]:
    """One question and its answer; the first of a conversation carries the medium."""
    return question.turns(f"<{kind}>\n" if number == 0 else "")


def _write_texts(paths: WorldPaths, split: str, seed: int, count: int) -> dict[str, dict[str, int]]:
    """The annotations of text alone. Returns the counts of the files, in which a picture that is
    told stands for a medium."""
    counts = {}
    asked, held = text_records(split, seed, count)
    files = {paths.annotations(split, "text"): (count, asked)}
    if split != "train":
        files[paths.held_texts(split)] = (len(held), held)
    for path, (told, records) in files.items():
        _write_annotations(path, records)
        counts[f"{split}/{path.stem}"] = {"media": told, "records": len(records)}
    return counts


def _write_annotations(path: Path, records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "\n".join(lines) + "\n" if lines else ""
    if path.suffix == ".json":
        text = "[\n" + ",\n".join(lines) + "\n]\n"
    path.write_text(text, encoding="utf-8")


def _texts(seed: int) -> Iterator[str]:
    """What the tokenizer is trained on: the world's wordings, however few scenes are built."""
    for kind in _SAMPLERS:
        for _, questions in iter_scenes(kind, "train", seed, _TEXT_SCENES):
            for question in questions:
                yield f"system\n{SYSTEM_PROMPT}"
                yield f"user\n{question.text}"
                yield f"assistant\n{question.answer}"


def _content_hash(paths: WorldPaths) -> str:
    """sha256 over the names and bytes of everything but world.json."""
    digest = hashlib.sha256()
    for path in sorted(p for p in paths.root.rglob("*") if p.is_file() and p != paths.summary):
        digest.update(path.relative_to(paths.root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_complete(paths: WorldPaths, parameters: Mapping[str, int]) -> bool:
    if not paths.summary.is_file():
        return False
    try:
        summary = json.loads(paths.summary.read_bytes())
    except ValueError:  # damaged
        return False
    same = summary.get("version") == VERSION and summary.get("parameters") == parameters
    return same and summary.get("sha256") == _content_hash(paths)


def _remove_left(folder: Path, begun: str) -> None:
    """Removes what builds of this host that were killed have left."""
    for left in folder.glob(f"{glob.escape(begun)}*"):
        process = left.name[len(begun) :].partition("-")[0]
        if process == str(os.getpid()) or process.isdecimal() and _has_ended(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # or it runs, as another user
        return isinstance(error, ProcessLookupError)
    return False


def _swap_in(building: Path, paths: WorldPaths, parameters: Mapping[str, int]) -> None:
    """Renames the built world into place, moving an old one out of the way first."""
    old = building.with_name(building.name + "-old")
    if paths.root.exists():
        os.rename(paths.root, old)
    try:
        os.rename(building, paths.root)
    except OSError:
        # Another process may have put the same world there in the meantime.
        if not _is_complete(paths, parameters):
            raise
    shutil.rmtree(old, ignore_errors=True)
