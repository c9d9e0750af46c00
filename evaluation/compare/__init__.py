"""Two models' answers to the same questions: how far they differ, and how sure that is.

In: two run folders, or folders of one evaluation each. Out: a `Comparison` for each benchmark that
both have, a table in the terminal, comparison.json.

settings.py    what the two were not asked alike in
comparison.py  the numbers
terminal.py    the table
"""

from evaluation.compare.comparison import (
    COMPARISON_FILE,
    Change,
    Comparison,
    compare_folders,
    save,
)
from evaluation.compare.terminal import print_comparisons

__all__ = [
    "COMPARISON_FILE",
    "Change",
    "Comparison",
    "compare_folders",
    "print_comparisons",
    "save",
]
