"""The report of a study: report.html, report.md, study.csv and the figures.

study.py     reads a study directory
compare.py   scores and gains with their intervals
headline.py  the sentences at the top
sections.py  what the report says, in order; html.py and markdown.py write it
figures/     one module for a kind of figure
"""

from evaluation.report.build import build_report
from evaluation.report.terminal import print_summary

__all__ = ["build_report", "print_summary"]
