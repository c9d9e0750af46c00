"""Official benchmarks as annotation files of this project: written once, then like any other.

The JSONL file stands where the config's data set looks for it (`vsft_jax.config.official_file`),
with a <name>.source.json beside it: which folders and revision it was made from, what was left out.
It is written anew when the files, the options or the readers change.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from absl import logging
from ml_collections import ConfigDict

from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.catalogue import find_benchmark
from evaluation.benchmarks.folders import find_folders, revision_of
from evaluation.benchmarks.media_files import walk
from evaluation.benchmarks.question import Answered, BenchmarkError, Medium, Question
from evaluation.benchmarks.source import Source, is_table
from evaluation.statistics import Interval, bootstrap_aggregate
from input_pipeline.annotations import fingerprint_records
from input_pipeline.errors import UserError
from input_pipeline.files import write_atomically
from input_pipeline.media import is_archive
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.processes import first_process_first

_VERSION = 3  # raise when a reader's questions change: files are then written anew
_SHOWN = 3  # missing media that are named
_SCORED = frozenset(
    {"id", "messages", "task", "format", "answer", "chance", "cluster", "choices", "frame_question"}
)


class _Said(Protocol):
    """What is used of a prediction."""

    @property
    def id(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def prediction(self) -> str: ...


def write_official(run: Run) -> None:
    """Writes the annotation file of every official benchmark of the config that is not there as it
    should be.

    Raises BenchmarkError for files that are missing or not whole, naming what to fetch to where,
    ConfigError for a benchmark or option that is not known.
    """
    entries = run.config.data.benchmarks
    with first_process_first("official benchmarks"):
        for dataset in run.benchmarks:
            if entries[dataset.name].get("official"):
                options = _options(dataset.name, entries[dataset.name])
                benchmark = find_benchmark(entries[dataset.name].official)
                partial = entries[dataset.name].get("partial", False)
                path = Path(dataset.annotations)
                _write(benchmark, run.benchmark_root, path, options, partial)


def official_metrics(run: Run, name: str, predictions: Iterable[_Said]) -> dict[str, Interval]:
    """The official numbers of one benchmark of the config from its scored answers, and those that
    others would print ("compat_…"), with intervals over its clusters; none for one that is not
    official, and where nothing was answered."""
    official = run.config.data.benchmarks[name].get("official")
    if not official:
        return {}
    path = next(each.annotations for each in run.benchmarks if each.name == name)
    said = {each.id: each for each in predictions}
    answered = []
    for line in Path(path).read_text(encoding="utf-8").split("\n"):
        record = json.loads(line) if line else {}
        if found := said.get(record.get("id", "")):
            answered.append(
                Answered(
                    found.id,
                    record["task"],
                    record["cluster"],
                    found.score,
                    record["answer"],
                    found.prediction,
                    record.get("choices", {}),
                    {key: value for key, value in record.items() if key not in _SCORED},
                )
            )
    if not answered:
        return {}
    benchmark = find_benchmark(official)
    numbers = bootstrap_aggregate(answered, benchmark.aggregate)
    if compat := benchmark.compat:
        rescored = compat.rescored(answered)
        numbers |= bootstrap_aggregate(rescored, compat.metrics) if rescored else {}
    return numbers


def source_file(annotations: Path) -> Path:
    """Where it stands what an annotation file was made from."""
    return annotations.with_suffix(".source.json")


def _options(name: str, entry: ConfigDict) -> dict[str, Any]:
    """Every option of an entry of the config, with the defaults of those that it leaves out."""
    key = f"config.data.benchmarks.{name}"
    benchmark = find_benchmark(entry.official, f"{key}.official")
    known, given = benchmark.options, dict(entry.get("options", {}))
    for option, value in given.items():
        if option not in known:
            raise ConfigError(
                f"{key}.options.{option}: {benchmark.title} has {', '.join(known) or 'none'}"
            )
        if value not in known[option]:
            raise ConfigError(
                f"{key}.options.{option} = {value!r}: expected one of {list(known[option])}"
            )
    if entry.modality != benchmark.modality:
        raise ConfigError(
            f"{key}.modality = {entry.modality!r}: {benchmark.title} is of {benchmark.modality!r}"
        )
    return {option: given.get(option, allowed[0]) for option, allowed in known.items()}


# ── Writing. ────────────────────────────────────────────────────────────────────────────────────


def _write(
    benchmark: Benchmark, root: str, path: Path, options: Mapping[str, Any], partial: bool
) -> None:
    folders = find_folders(benchmark, root)
    if not folders:
        place = Path(root or "/data/benchmarks")
        raise BenchmarkError(
            f"{benchmark.title}: there is no folder of it in {root or 'the Hugging Face cache'}; "
            f"names: {', '.join(benchmark.repositories)}, with or without the owner\n"
            f"{benchmark.how_to_fetch(place / benchmark.folder)}\n"
            "and name the folder above it: config.data.benchmark_root"
        )
    stamp = _stamp(benchmark, folders, {**options, "partial": partial})
    known = source_file(path)
    if path.is_file() and _written_with(known) == stamp:
        return
    remedy = benchmark.how_to_fetch(folders[0])
    source = Source(benchmark.title, remedy, folders, path.with_suffix(".pictures"))
    questions = _questions(benchmark, source, options)
    kept, left_out = _without_missing(source, questions, benchmark.withdrawn, partial)
    _check_ids(source, kept)
    write_atomically(path, "".join(json.dumps(_record(q), ensure_ascii=False) + "\n" for q in kept))
    facts = {
        "stamp": stamp,
        "benchmark": benchmark.name,
        "folders": [str(folder) for folder in folders],
        "revisions": [revision_of(folder) for folder in folders],
        "tables": {table: fingerprint_records(table)[:16] for table in source.tables},
        "options": dict(options),
        "found": len(questions),
        "questions": len(kept),
        "published": benchmark.rows,
        "left_out": source.left_out | left_out,
    }
    write_atomically(known, json.dumps(facts, indent=1, ensure_ascii=False))
    _log(benchmark, facts, path)


def _questions(benchmark: Benchmark, source: Source, options: Mapping[str, Any]) -> list[Question]:
    """All that the files hold. Raises BenchmarkError naming the record whose values are not those
    of the set, and where subtitles are asked for of which there are none at all."""
    try:
        questions = list(benchmark.read(source, options))
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise source.fail(
            f"{source.reading} is not what the set has: {type(error).__name__}: {error}"
        ) from error
    if options.get("subtitles", "none") != "none" and questions and not source.texts:
        raise source.fail(
            f"its options ask for subtitles = {options['subtitles']!r}, and no video has any"
        )
    return questions


def _written_with(facts: Path) -> str | None:
    """The stamp in the facts that stand beside the questions; None where there are none."""
    try:
        return json.loads(facts.read_bytes())["stamp"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # damaged ones are as good as none
        return None


def _stamp(benchmark: Benchmark, folders: list[Path], options: Mapping[str, Any]) -> str:
    """Changes with the names of all files, and size and time of tables and archives."""
    digest = hashlib.sha256(repr((_VERSION, benchmark.name, sorted(options.items()))).encode())
    for folder in folders:
        for directory, names in walk(folder):
            digest.update(f"{directory} {names}".encode())
            for name in names:
                file = Path(directory, name)
                if is_table(file) or is_archive(name):
                    status = file.stat()
                    digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _without_missing(
    source: Source, questions: list[Question], withdrawn: frozenset[str], partial: bool
) -> tuple[list[Question], dict[str, int]]:
    """The questions whose media are there, and by what they lack how many are not.

    Raises BenchmarkError for missing media, unless they are the withdrawn ones of a whole task, or
    `partial`.
    """
    if not questions:
        raise source.fail("its tables hold no question")
    tasks = Counter(q.task for q in questions)
    gone = Counter(q.task for q in questions if q.missing)
    expected = {task for task in withdrawn if gone[task] == tasks[task] > 0}
    left_out = {
        f"{task}: withdrawn by the publisher, none of its media is there": gone[task]
        for task in sorted(expected)
    }
    names = sorted({n for q in questions if q.task not in expected for n in q.missing})
    lacking = sum(1 for q in questions if q.missing and q.task not in expected)
    if lacking:
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        what = f"{len(names)} media are not there ({shown})"
        if not partial:
            raise source.fail(
                f"{what}, so {lacking} of {len(questions)} questions cannot be asked; partial=True "
                "in its entry of config.data.benchmarks asks the others"
            )
        left_out[what] = lacking
    kept = [q for q in questions if not q.missing]
    if not kept:
        raise source.fail("none of its media is there")
    return kept, left_out


def _check_ids(source: Source, questions: list[Question]) -> None:
    (id, count), *_ = Counter(q.id for q in questions).most_common(1)
    if count > 1:
        raise source.fail(f"{count} questions are called {id!r}: is a table there twice?")


def _record(question: Question) -> dict[str, Any]:
    """A question as a record of the "messages" format; see docs/data.md."""
    record = {
        "id": question.id,
        "messages": [
            {"role": "user", "content": [_part(part) for part in question.content]},
            {"role": "assistant", "content": question.answer},
        ],
        "task": question.task,
        "format": question.format,
        "answer": question.answer,
        "chance": question.chance,
        "cluster": question.cluster,
    }
    if question.choices:
        record["choices"] = dict(question.choices)
    if question.asks:
        record["frame_question"] = question.asks
    return record | dict(question.facts)


def _part(part: str | Medium) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    found: dict[str, Any] = {"type": part.kind, part.kind: part.path}
    if part.start_s is not None or part.end_s is not None:
        found |= {"start": part.start_s, "end": part.end_s}
    return found


def _log(benchmark: Benchmark, facts: Mapping[str, Any], path: Path) -> None:
    revisions = [each[:12] for each in facts["revisions"] if each]
    logging.info(
        "%s: %d questions from %s%s → %s",
        *(benchmark.title, facts["questions"], ", ".join(facts["folders"])),
        f" ({', '.join(revisions)})" if revisions else "",
        path,
    )
    for what, count in facts["left_out"].items():
        logging.warning("%s: %d questions left out: %s", benchmark.title, count, what)
    if facts["found"] != benchmark.rows and all(
        facts["options"][key] == allowed[0] for key, allowed in benchmark.options.items()
    ):
        logging.warning(
            "%s: these files have %d questions, the published set has %d: another version of it?",
            *(benchmark.title, facts["found"], benchmark.rows),
        )
