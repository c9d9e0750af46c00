"""Builds a report: reads the study, draws the figures, writes the files."""

from pathlib import Path

from evaluation.report.figures.style import DARK, LIGHT, png
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.read_study import Study, read_folder
from evaluation.report.sections import make_document
from evaluation.report.tables import study_csv
from input_pipeline.files import write_atomically


def build_report(study_dir: str | Path, out_dir: str | Path) -> Path:
    """The report of a study's folder, a run's, or one that holds runs' folders: see `write_report`.

    Raises ResultError if `study_dir` is none of them, and for an unreadable file.
    """
    return write_report(read_folder(study_dir), out_dir)


def write_report(study: Study, out_dir: str | Path) -> Path:
    """Writes report.html, report.md, study.csv and the figures; returns report.html's path.

    Works on an unfinished study: what is missing is shown as not finished or not recorded.
    """
    out_dir = Path(out_dir).absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
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
