"""Builds a report: reads the study, draws the figures, writes the files."""

from pathlib import Path

from evaluation.report.figures.style import DARK, LIGHT, png
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.read_study import read_study
from evaluation.report.sections import make_document
from evaluation.report.tables import study_csv
from input_pipeline.files import write_atomically


def build_report(study_dir: str | Path, out_dir: str | Path) -> Path:
    """Writes report.html, report.md, study.csv and the figures; returns report.html's path.

    Works on an unfinished study: what is missing is shown as not finished or not recorded.
    Raises FileNotFoundError if `study_dir` has no cells, ResultError for an unreadable file.
    """
    out_dir = Path(out_dir).absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    study = read_study(study_dir)
    document = make_document(study)
    figures = [figure for section in document.sections for figure in section.figures]
    light = {figure.name: png(figure.draw(LIGHT)) for figure in figures}
    dark = {figure.name: png(figure.draw(DARK)) for figure in figures}
    for name, content in light.items():
        write_atomically(out_dir / f"{name}.png", content)
    write_atomically(out_dir / "study.csv", study_csv(study))
    write_atomically(out_dir / "report.md", to_markdown(document))
    write_atomically(out_dir / "report.html", to_html(document, light, dark))
    return out_dir / "report.html"
