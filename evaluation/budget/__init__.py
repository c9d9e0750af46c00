"""A frame-budget predictor from a model's answers at fixed counts of frames: the budget job.

In: results that evaluations under "fixed" policies left in a run's workdir. Out: a file for the
frame policy of kind "learned" (input_pipeline/frame_budget/learned), and how well it does.

labels.py    which budget each question needed, and what could be known of it beforehand
fitting.py   the predictor's weights, with JAX
held_out.py  predictors on clips and kinds of question that they did not see, beside other policies
terminal.py  that as a table
job.py       all of it
"""

from evaluation.budget.job import fit_budget
from evaluation.budget.labels import Labels, Question, read_labels

__all__ = ["Labels", "Question", "fit_budget", "read_labels"]
