"""From a study's directory to a `Study`, the only thing that the report is made from.

Everything is read as specs and numbers. What older studies named by labels is looked up in their
result files.
"""

from evaluation.report.read_study.files import read_study
from evaluation.report.read_study.policies import FramePolicy
from evaluation.report.read_study.study import Evaluation, Model, Study

__all__ = ["Evaluation", "FramePolicy", "Model", "Study", "read_study"]
