"""What a model needed: its answers at fixed counts of frames, with what a policy could have known
of each question."""

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from absl import logging

from evaluation.diagnostics.sufficient import sufficient_budgets
from evaluation.records import ResultError
from evaluation.report.read_study import Evaluation, FramePolicy, read_evaluations
from evaluation.results import Prediction
from input_pipeline.examples import Example, MediaRef
from input_pipeline.frame_budget import BudgetQuery, make_policy
from input_pipeline.frame_budget.learned import Features, features_of
from input_pipeline.media import Decoder, MediaError, cut_clip
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import prepare_benchmarks

LEAST_CLIPS = 10  # fewer can hardly be parted into five
RULE = "hybrid"  # beside which a predictor is shown, whether it was evaluated or not


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about one clip, answered at every count.

    name: benchmark and id. kind: its task. cluster: the clip, told without where it lies. needed:
    the smallest sufficient of the counts. rule: frames by the hybrid rule over the counts.
    """

    name: str
    kind: str
    cluster: str
    features: Features
    needed: int
    rule: int


@dataclasses.dataclass(frozen=True)
class Labels:
    """The questions of the chosen benchmarks, in order of their names.

    by_count: frames → question → answer. given: frames shown under each other policy that the model
    was evaluated under and that answered them all, by label. left_out: questions by why they are
    not among them. about: of the model and of what it was asked, JSON values.
    """

    counts: tuple[int, ...]
    questions: Sequence[Question]
    by_count: Mapping[int, Mapping[str, Prediction]]
    given: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]
    about: Mapping[str, Any]

    @property
    def places(self) -> list[int]:
        """Of each question the place in `counts` of what it needed."""
        return [self.counts.index(each.needed) for each in self.questions]


class _Asked(NamedTuple):
    """A benchmark's questions by id, each with what is known of it; why others are left out."""

    known: dict[str, tuple[Features, int, str]]
    left_out: Counter[str]


def read_labels(run: Run) -> Labels:
    """Labels from the results that evaluations left in a run's workdir, by its config's benchmarks.

    Previews of the clips are decoded, nothing is asked. Raises ConfigError or ResultError where the
    model was not asked at two counts, results are of several models, or clips are too few.
    """
    problems: list[str] = []
    evaluations = read_evaluations(run.workdir, {}, problems)
    names = _benchmarks(run)
    by_count, counts = _by_count(run, evaluations, names, problems)
    checkpoint = _checkpoint(evaluations, names)
    asked = _look(run, names, counts)
    left_out: Counter[str] = Counter()
    questions, answers = [], {count: dict[str, Prediction]() for count in counts}
    for name in names:
        found = {count: by_count[count][name] for count in counts}
        left_out += asked[name].left_out
        for question, needed in sufficient_budgets(found).items():
            if question not in asked[name].known:
                continue
            features, rule, cluster = asked[name].known[question]
            key, task = f"{name}\n{question}", found[counts[0]][question].task
            questions.append(Question(key, task, cluster, features, needed, rule))
            for count in counts:
                row = found[count][question]
                answers[count][key] = dataclasses.replace(row, cluster=cluster)
        unanswered = asked[name].known.keys() - set.intersection(*map(set, found.values()))
        left_out["not answered at every count"] += len(unanswered)
    clips = len({question.cluster for question in questions})
    if clips < LEAST_CLIPS:
        raise ResultError(
            f"{run.workdir}/eval: {len(questions)} questions about {clips} clips can be used, and "
            f"at least {LEAST_CLIPS} clips are needed (left out: {_listed(left_out)}): ask about "
            "more, or name other benchmarks in config.budget.benchmarks"
        )
    labelled = Counter(question.needed for question in questions)
    about = {
        "checkpoint": dict(checkpoint),
        "benchmarks": list(names),
        "questions": len(questions),
        "clips": clips,
        "needed": {str(count): labelled[count] for count in counts},
        "left_out": dict(+left_out),
        "labels": _digest(questions),
    }
    given = dict(_given(evaluations, names, questions))
    return Labels(counts, questions, answers, given, +left_out, about)


def _benchmarks(run: Run) -> list[str]:
    entries = run.config.data.benchmarks
    clips = [name for name, entry in entries.items() if entry.modality == "video"]
    chosen = list(run.config.budget.benchmarks) or clips
    if unknown := [name for name in chosen if name not in clips]:
        raise ConfigError(
            f"config.budget.benchmarks: {', '.join(unknown)}: not among the config's benchmarks of "
            f"clips ({', '.join(clips) or 'there are none'})"
        )
    if not chosen:
        raise ConfigError("config.data.benchmarks has none of clips: there are no answers to go by")
    return chosen


def _by_count(
    run: Run,
    evaluations: Mapping[FramePolicy, Evaluation],
    names: Sequence[str],
    problems: Sequence[str],
) -> tuple[dict[int, dict[str, Mapping[str, Prediction]]], tuple[int, ...]]:
    """Frames → benchmark → question → answer, and the counts at which all benchmarks were asked."""
    found = {
        int(policy.spec["frames"]): {
            name: evaluation.predictions[name] for name in names if evaluation.predictions.get(name)
        }
        for policy, evaluation in evaluations.items()
        if policy.is_fixed
    }
    counts = tuple(sorted(count for count, asked in found.items() if len(asked) == len(names)))
    if len(counts) < 2:
        have = ", ".join(map(str, counts)) or "none"
        unreadable = f" ({problems[0]})" if problems else ""
        raise ResultError(
            f"{run.workdir}/eval: answers to {', '.join(names)} at two numbers of frames or more "
            f"are needed, found: {have}{unreadable}; ask with --job=evaluate "
            "--config.eval.frames=8+16+32"
        )
    return found, counts


def _checkpoint(
    evaluations: Mapping[FramePolicy, Evaluation], names: Sequence[str]
) -> Mapping[str, Any]:
    """Which model answered. Raises ResultError where it was not always the same."""
    found: dict[str, Mapping[str, Any]] = {}
    for policy, evaluation in evaluations.items():
        if policy.is_fixed:
            for name in names:
                if result := evaluation.results.get(name):
                    found[f"{policy.label}/{name}.json"] = result.provenance.checkpoint
    (first, model), *others = found.items()
    for file, other in others:
        if other.get("fingerprint") != model.get("fingerprint"):
            raise ResultError(
                f"eval/{first} is of another model than eval/{file} (fingerprints "
                f"{model.get('fingerprint')} and {other.get('fingerprint')}): remove the older "
                "folder and ask anew with --job=evaluate"
            )
    return {key: model.get(key) for key in ("step", "fingerprint")}


def _look(run: Run, names: Sequence[str], counts: Sequence[int]) -> dict[str, _Asked]:
    """What a policy could know of each benchmark's questions."""
    # The indexes that the evaluation made, where they are still there.
    prepared = prepare_benchmarks(run, {"kind": "fixed", "frames": counts[0]})
    stores = prepared.stores()
    rule = make_policy({"kind": RULE, "candidates": counts}, frames_at_a_time=run.layout.min_frames)
    found = {}
    for dataset in run.benchmarks:
        if dataset.name not in names:
            continue
        store = stores[dataset.name]
        examples = [store[i][0] for i in range(len(store))]
        logging.info("%s: looking at the clips of %d questions", dataset.name, len(examples))
        look = functools.partial(_known, run.decoder, rule, dataset.media_root)
        with ThreadPoolExecutor(run.config.data.workers) as pool:
            looked = list(pool.map(look, examples))
        known, left_out = {}, Counter[str]()
        for example, each in zip(examples, looked, strict=True):
            if isinstance(each, str):
                left_out[each] += 1
            else:
                known[example.id] = each
        found[dataset.name] = _Asked(known, left_out)
    return found


def _known(
    decoder: Decoder, rule: Any, root: str, example: Example
) -> tuple[Features, int, str] | str:
    """Features, the rule's frames and the clip's name; or why the question says nothing."""
    if len(example.media) != 1 or example.media[0].kind != "video":
        return "not about one clip alone"
    (ref,) = example.media
    if ref.fps or ref.nframes:
        return "the data asks for frames itself"
    try:
        info = cut_clip(decoder.probe(MediaRef(ref.kind, ref.path)), ref)
        if info.frames < 2:
            return "a clip of one frame"
        preview = functools.partial(_preview, decoder, ref)
        query = BudgetQuery(example.id, example.instruction, info, preview)
        cluster = str(example.meta.get("cluster") or ref.path.removeprefix(f"{root.rstrip('/')}/"))
        return features_of(query), rule(query).frames, cluster
    except MediaError as error:
        return f"{error.reason} clip"


def _preview(decoder: Decoder, ref: MediaRef, count: int, side: int = 64) -> Any:
    return decoder.preview(ref, count, side)


def _given(
    evaluations: Mapping[FramePolicy, Evaluation],
    names: Sequence[str],
    questions: Sequence[Question],
) -> Iterator[tuple[str, dict[str, int]]]:
    for policy, evaluation in sorted(evaluations.items(), key=lambda item: item[0].order):
        rows = {
            f"{name}\n{row.id}": row.frames
            for name in names
            for row in evaluation.predictions.get(name, {}).values()
            if row.frames
        }
        if not policy.is_fixed and all(question.name in rows for question in questions):
            yield policy.label, {question.name: rows[question.name] for question in questions}


def _digest(questions: Sequence[Question]) -> str:
    labels = [[question.name, question.needed] for question in questions]
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:12]


def _listed(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {why}" for why, n in left_out.items() if n) or "none"
