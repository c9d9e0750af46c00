"""The report of a study.

In: a study's folder, finished or not, or folders of runs. Out: report.html, report.md, study.csv
and the figures; or the headline and the table of scores in the terminal.

read_study/  the folder's files as a `Study`: policies by their specs, scores by question
compare.py   scores and gains with their intervals
headline.py  the sentences at the top
tables.py    tables and study.csv; wording.py says how numbers read
questions.py example questions with the answers of both models; thumbnails.py what they saw
sections.py  what the report says, in order, as a document.py; html.py and markdown.py write it
benchmarks/  official numbers, the paper's beside them, controls, models under other frames
figures/     one module for a kind of figure
"""

from evaluation.report.build import build_report, write_report
from evaluation.report.read_study import compare_runs, read_folder
from evaluation.report.terminal import print_summary

__all__ = ["build_report", "compare_runs", "print_summary", "read_folder", "write_report"]
