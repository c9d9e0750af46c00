"""How likely models find held texts: what fine-tuning cost in text beyond questions."""

from collections.abc import Sequence

import numpy as np

from evaluation.report import compare
from evaluation.report.compare import Shown, Slice
from evaluation.report.document import Table
from evaluation.report.read_study import Study
from evaluation.report.wording import NOT_FINISHED, bits_change_text, bits_text, count


def held_text_tables(study: Study) -> list[Table]:
    """Of each benchmark of texts the perplexity a token and the bits a byte, of base and tuned
    models, and the change of the latter."""
    tables = []
    for name in compare.of_modality(study, compare.HELD_TEXT).benchmarks:
        which = Slice((name,))
        rows = []
        for group in compare.groups(study):
            base = compare.base_shown(study, group)
            rows.append(
                [
                    group.label,
                    *(_perplexity(study, shown, name) for shown in (base, group.shown)),
                    *(bits_text(compare.score(study, s, which)) for s in (base, group.shown)),
                    bits_change_text(compare.gain(study, group.shown, which)),
                ]
            )
        for each in compare.alone(study):
            score = bits_text(compare.score(study, [each], which))
            rows.append([study.label(each.policy), _perplexity(study, [each], name), "", score, ""])
            rows[-1].append("")
        texts = compare.questions(study, which)[1]
        headers = ["model", *(f"perplexity: {what}" for what in ("base", "tuned"))]
        headers += [f"bits a byte: {what}" for what in ("base", "tuned", "change")]
        tables.append(Table(headers, rows, f"{name}, {texts:,} texts"))
    return tables


def _perplexity(study: Study, shown: Sequence[Shown], benchmark: str) -> str:
    """A token, over all texts; the mean over seeds."""
    results = [compare.result_of(study, each, benchmark) for each in shown]
    found = [r.metrics["perplexity"].value for r in results if r and "perplexity" in r.metrics]
    return count(float(np.mean(found)), 2) if found else NOT_FINISHED
