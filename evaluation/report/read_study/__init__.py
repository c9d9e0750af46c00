"""From a study's directory, or runs' folders, to a `Study`: all that the report is made from.

Everything is read as specs and numbers. What older studies named by labels is looked up in their
result files.
"""

from evaluation.report.read_study.files import read_evaluations, read_study
from evaluation.report.read_study.policies import FramePolicy
from evaluation.report.read_study.runs import compare_runs, read_folder
from evaluation.report.read_study.study import Evaluation, Model, Study

__all__ = [
    "Evaluation",
    "FramePolicy",
    "Model",
    "Study",
    "compare_runs",
    "read_evaluations",
    "read_folder",
    "read_study",
]
