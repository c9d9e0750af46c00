"""What a report says of benchmarks beyond scores and changes.

In: a `Study`. Out: sections of its report, each only where there is something in it.

official.py   the numbers that publishers define; what guessing gets
tasks.py      which tasks changed, corrected for how many there are
held_texts.py the perplexity of texts
matrix.py     models trained with m frames, shown n
paper.py      the numbers of arXiv 2603.17541 beside those of the same model here
"""

from evaluation.report.benchmarks.held_texts import held_text_tables
from evaluation.report.benchmarks.matrix import matrix_figures, matrix_tables
from evaluation.report.benchmarks.official import control_table, official_tables
from evaluation.report.benchmarks.paper import paper_table
from evaluation.report.benchmarks.tasks import task_tables
from evaluation.report.document import Section, Table
from evaluation.report.read_study import Study

__all__ = ["benchmark_sections"]


def benchmark_sections(study: Study) -> list[Section]:
    """Official numbers, a paper's beside them, tasks, models under other frames, controls."""
    found: list[tuple[str, str, list[Table | None]]] = [
        ("Official numbers", _OFFICIAL, [*official_tables(study)]),
        ("Beside the paper", _PAPER, [paper_table(study)]),
        ("Tasks, corrected", _TASKS, [*task_tables(study)]),
        (_SHOWN, _MATRIX, [*matrix_tables(study)]),
        ("Held text", _HELD, [*held_text_tables(study)]),
        ("Controls against guessing", _CONTROLS, [control_table(study)]),
    ]
    pictures = {_SHOWN: matrix_figures(study)}
    return [
        Section(title, text, pictures.get(title, ()), shown)
        for title, text, tables in found
        if (shown := [table for table in tables if table])
    ]


_SHOWN = "Trained with, shown"
_OFFICIAL = (
    "What the benchmarks' publishers define, in their units (percent, unless "
    "docs/evaluation.md says otherwise), with 95 % intervals over pictures or clips. "
    "Questions whose media could not be read are in none of them."
)
_PAPER = (
    "What arXiv 2603.17541 has for Qwen2.5-VL-7B-Instruct and models fine-tuned from it, at the "
    "same number of frames, as digests of it tell; ≈ is read off a figure, to about 0.1 "
    "points, of MME 2. Which of POPE's, MMBench's and TempCompass' numbers it has, its resolution, "
    "prompts and scorers are not known: a difference may be one of those."
)
_TASKS = (
    "Change over the base in points, task by task, with p, how likely as large a change is where "
    "there is none: a clip's questions are kept together, and p is corrected for the number of a "
    "benchmark's tasks (Holm), so that without any change one of them is bold, below 0.05, at most "
    "one time in twenty. Of several seeds these are means, and p is for these models."
)
_MATRIX = (
    "Scores in percent of models (rows) under the frames that they were shown (columns); bold, "
    "outlined in the figure, is what a model was trained with; – was not asked. What a model gains "
    "from more frames stands along its row, what training with more frames gives at the same cost "
    "of answering stands in a column."
)
_HELD = (
    "How likely the models find texts that no question is about. Perplexity is a token, over all "
    "tokens; bits a byte, the mean over texts, do not depend on the tokenizer. Both are better "
    "where lower: a change above zero is what fine-tuning cost."
)
_CONTROLS = (
    "The same model and questions with something taken away. What it gets from the text alone "
    "is what a model that sees nothing would get; a score that does not fall with one frame, "
    "or with frames in another order, does not show that the clip was understood. "
    "Questions that a control does not change are left out of it."
)
