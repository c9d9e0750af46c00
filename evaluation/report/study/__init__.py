"""What a study says beyond its scores: claims answered, budgets that would have done, gradients.

Nothing of it is shown for runs that no study made.
"""

from evaluation.report.study.claims import MATTERS, claim_table, ranked_remedies
from evaluation.report.study.gradients import gradient_sections
from evaluation.report.study.sufficient import sufficient_sections

__all__ = [
    "MATTERS",
    "claim_table",
    "gradient_sections",
    "ranked_remedies",
    "sufficient_sections",
]
