"""Findings as one page of HTML that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from service.report.findings import Findings
from service.report.html import plain
from service.report.sections import write_sections

HERE = Path(__file__).parent
KINDS = {
    "photographs": "photographs of known people",
    "protocol": "a protocol of pairs",
    "decisions": "live decisions of which the truth was told",
}


def render(findings: Findings, figures: Mapping[str, Sequence[str]]) -> str:
    """Render a report. `figures` holds the drawings of each part, as SVG."""
    subject = findings.subject
    sections = [(place, title, "\n".join(body)) for place, title, body in write_sections(findings, figures)]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        facet=subject.facet,
        title=plain(f"Face verification report: {subject.model}"),
        about=plain(f"Measured on {KINDS[subject.kind]}, {subject.made_at}, with facet {subject.facet}."),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        contents="\n".join(f'<li><a href="#{place}">{title}</a></li>' for place, title, _ in sections),
        sections="\n".join(
            f'<section id="{place}">\n<h2>{title}</h2>\n{body}\n</section>' for place, title, body in sections
        ),
    )
