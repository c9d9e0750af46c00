"""The smallest sufficient budget of a question, and how well a frame policy predicts it.

A model is asked at several fixed counts. Its smallest sufficient budget for a question is the
fewest frames from which on its answer does not change any more, m_min(v, q) of arXiv 2603.17541. It
is the model's, not the question's: one that cannot use frames needs few.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.results import Prediction, clusters
from evaluation.statistics import Interval, Sample, bootstrap_mean

ByCount = Mapping[int, Mapping[str, Prediction]]  # frames → question → answer


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a policy's budgets go with what questions need, over the questions asked at every count.

    confusion: (needed, given) → questions, both as counts that were asked. regret: score at the
    largest count minus score at the given one, with its interval. frames: mean given; saved: mean
    of the largest count minus that. needed: mean of the smallest sufficient budgets, which is what
    an oracle would give at no regret in answers.
    """

    confusion: Mapping[tuple[int, int], int]
    regret: Interval
    frames: float
    saved: float
    needed: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the questions: too few frames, as many as needed, more than needed."""
        total = sum(self.confusion.values())
        few = sum(n for (need, given), n in self.confusion.items() if given < need)
        exact = sum(n for (need, given), n in self.confusion.items() if given == need)
        return few / total, exact / total, 1 - (few + exact) / total


def sufficient_budgets(by_count: ByCount) -> dict[str, int]:
    """Question → the smallest of the counts from which on its answer is that of the largest.

    Questions that were not answered at every count are left out.
    """
    counts = sorted(by_count)
    found = {}
    for question in _asked_everywhere(by_count):
        final = by_count[counts[-1]][question].prediction
        need = counts[-1]
        for count in reversed(counts[:-1]):
            if by_count[count][question].prediction != final:
                break
            need = count
        found[question] = need
    return found


def fit_of(by_count: ByCount, budgets: Mapping[str, int]) -> Fit | None:
    """How budgets, frames by question, fit a model's answers; None where no question has both.

    A budget between two counts goes by the smaller, as what is seen then is no more than that.
    """
    counts, needed = sorted(by_count), sufficient_budgets(by_count)
    questions = [q for q in _asked_everywhere(by_count) if budgets.get(q)]
    if not questions:
        return None
    given = {q: _at_most(counts, budgets[q]) for q in questions}
    most = by_count[counts[-1]]
    losses = [most[q].score - by_count[given[q]][q].score for q in questions]
    frames = float(np.mean([budgets[q] for q in questions]))
    return Fit(
        confusion=Counter((needed[q], given[q]) for q in questions),
        regret=bootstrap_mean(Sample(np.array(losses), clusters(most[q] for q in questions))),
        frames=frames,
        saved=counts[-1] - frames,
        needed=float(np.mean([needed[q] for q in questions])),
    )


def _asked_everywhere(by_count: ByCount) -> list[str]:
    return sorted(set.intersection(*(set(answers) for answers in by_count.values())))


def _at_most(counts: Sequence[int], frames: int) -> int:
    return max((count for count in counts if count <= frames), default=counts[0])
