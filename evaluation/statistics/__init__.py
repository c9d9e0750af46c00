"""How sure a score is: intervals of means, and whether two models differ.

In: scores by question, each with the clip or picture that it is about. Out: 95 % intervals and
p-values, the same for the same scores.

sample.py        what goes in and what comes out: `Sample`, `Interval`
means.py         one model or one difference: Wilson, bootstrap over clusters
aggregates.py    the same for a number that is no mean over questions
seeds.py         several training seeds
significance.py  McNemar and its form for clusters, Holm, the smallest difference to be seen
"""

from evaluation.statistics.aggregates import bootstrap_aggregate
from evaluation.statistics.means import bootstrap_mean, mean_interval, paired_difference, wilson
from evaluation.statistics.sample import Interval, Sample
from evaluation.statistics.seeds import seeds_interval
from evaluation.statistics.significance import (
    holm,
    mcnemar,
    paired_p_value,
    smallest_difference,
)

__all__ = [
    "Interval",
    "Sample",
    "bootstrap_aggregate",
    "bootstrap_mean",
    "holm",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "paired_p_value",
    "seeds_interval",
    "smallest_difference",
    "wilson",
]
