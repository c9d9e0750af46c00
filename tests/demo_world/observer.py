"""What a perfect observer could answer from a few frames of a clip, worked out from its scene.

The observer sees each given frame without error, knows how the world is made, and keeps every
answer that the frames do not rule out. It ignores that some event times are likelier than others,
so its score is what logic alone gives.
"""

import itertools
from collections.abc import Iterable, Sequence

from demo_world.clip_questions import direction_of
from demo_world.clip_scenes import full_view_gap, uniform_frames
from demo_world.questions import Question
from demo_world.scenes import COLOURS, DIRECTIONS, HIDDEN, LAMP_ON, Scene

FRAME_COUNTS = (2, 4, 8, 16)


def possible_answers(scene: Scene, question: Question, frames: Sequence[int]) -> set[str]:
    """The answers, in words, that remain after seeing `frames` (rising indices); never empty.

    For captions only the part that needs several frames is counted: which way, or which first.
    """
    seen = sorted(set(frames))
    kind = f"caption.{scene.family}" if question.task == "caption" else question.task
    decide = {
        "static_digit": _at_once,
        "static_colour": _at_once,
        "direction": _direction,
        "caption.move": _direction,
        "caption.appear": _appears_first,
        "appears_first": _appears_first,
        "appears_first_choice": _appears_first,
        "order": _order,
        "count_flashes": _count_flashes,
        "speed": _speed,
        "brief_event": _brief_event,
    }[kind]
    return decide(scene, question, seen)


def table(clips: Iterable[tuple[Scene, list[Question]]]) -> dict[str, dict[int, tuple]]:
    """task → number of uniform frames → (share of questions settled, expected score), both 0..1.

    The expected score guesses evenly among the answers that remain.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for scene, questions in clips:
        for question in questions:
            by_count = found.setdefault(question.task, {count: [] for count in FRAME_COUNTS})
            for count, scores in by_count.items():
                left = possible_answers(scene, question, uniform_frames(scene.frames, count))
                scores.append(1.0 / len(left))
    return {
        task: {
            count: (sum(s == 1.0 for s in scores) / len(scores), sum(scores) / len(scores))
            for count, scores in by_count.items()
        }
        for task, by_count in found.items()
    }


def markdown(numbers: dict[str, dict[int, tuple]]) -> str:
    """`table` as a Markdown table, in per cent: "settled / expected score"."""
    lines = ["| task | " + " | ".join(f"{count} frames" for count in FRAME_COUNTS) + " |"]
    lines.append("|---" * (len(FRAME_COUNTS) + 1) + "|")
    for task, by_count in numbers.items():
        cells = [f"{100 * settled:.0f} / {100 * score:.0f}" for settled, score in by_count.values()]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at_once(scene, question, seen):
    return {question.truth}


def _direction(scene, question, seen):
    return {direction_of(scene)} if len(seen) > 1 else set(DIRECTIONS)


def _appears_first(scene, question, seen):
    first, second = sorted(scene.actors, key=lambda actor: actor.first_seen)
    alone = any(first.first_seen <= frame < second.first_seen for frame in seen)
    return {first.name} if alone else {first.name, second.name}


def _order(scene, question, seen):
    shown = [scene.role("lamp").colour_at(frame) for frame in seen]
    shown = [colour for colour, _ in itertools.groupby(shown) if colour in COLOURS]
    answers = set()
    for colours in itertools.permutations(COLOURS, 3):
        if not _is_subsequence(shown, colours):
            continue
        if question.format == "short":
            answers.add(colours[1])
        elif set(question.about) <= set(colours):
            earlier, later = (colours.index(colour) for colour in question.about)
            answers.add("yes" if earlier < later else "no")
    return answers


def _is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def _count_flashes(scene, question, seen):
    length = full_view_gap(scene.frames)  # of each flash, and at least of the dark between two
    lit = [frame for frame in seen if scene.role("lamp").colour_at(frame) == LAMP_ON]
    flashes = sum(i == 0 or frame - lit[i - 1] > length for i, frame in enumerate(lit))
    if all(b - a <= length for a, b in itertools.pairwise(seen)):
        return {str(flashes)}  # no flash fits between two neighbouring frames
    return {str(count) for count in range(max(1, flashes), 5)}


def _speed(scene, question, seen):
    if len(scene.actors) == 1:
        settled = len(seen) > 2  # how far it is at any moment between start and end
        other = "slower" if question.truth == "faster" else "faster"
    else:
        # To and fro is seen when no whole trip falls between two neighbouring frames.
        trip = (scene.frames - 1) / scene.role("fast").motion.trips
        settled = all(b - a <= trip for a, b in itertools.pairwise(seen))
        other = scene.role("slow").colour
    return {question.truth} if settled else {question.truth, other}


def _brief_event(scene, question, seen):
    event = scene.role("event")
    shown = any(event.colour_at(frame) != HIDDEN for frame in seen)
    return {event.colour} if shown else set(COLOURS)
