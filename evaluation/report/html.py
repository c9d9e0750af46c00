"""Writes a report as one HTML file that needs nothing else: styles and figures are inside."""

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2

from evaluation.report.document import Document
from evaluation.report.wording import Strong

_TEMPLATE = "report.html.j2"


def to_html(document: Document, light: Mapping[str, bytes], dark: Mapping[str, bytes]) -> str:
    """The report as HTML. light, dark: PNGs by figure name, for either colour scheme."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["strong"] = lambda text: isinstance(text, Strong)
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template(_TEMPLATE).render(
        document=document,
        light=light,
        dark=dark,
    )
