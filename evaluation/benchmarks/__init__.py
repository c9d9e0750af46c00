"""Official benchmarks, from the files that their publishers ship to the numbers that papers print.

In: a config whose benchmarks are named ("official": "mme"). Out: annotation files that the rest of
the evaluation takes like any other, and the official numbers of scored answers.

benchmark.py    what a benchmark is; question.py: a question, and one that was answered
images, videos, texts  one module a benchmark: how its files are read and its number is made
catalogue.py    all of them by name
folders.py      where their files may lie
source.py       tables, pictures, subtitles; media_files.py: clips in folders and archives
srt.py          what subtitles say, and when
official.py     the annotation file, and the numbers of one benchmark of a run
"""

from evaluation.benchmarks.catalogue import BENCHMARKS
from evaluation.benchmarks.official import official_metrics, write_official
from evaluation.benchmarks.question import BenchmarkError

__all__ = ["BENCHMARKS", "BenchmarkError", "official_metrics", "write_official"]
