"""The settings as Markdown tables, written from their descriptions into a document.

python -m service.settings.table docs/operations.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from service.settings.group import Group, text_of
from service.settings.settings import Settings

BEGIN, END = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"


def settings_tables() -> str:
    """One heading, sentence and table for each group of settings, with the defaults of an empty environment."""
    return "\n\n".join(_section(group) for group in Settings.groups().values())


def with_tables(document: str) -> str:
    """A document with the tables between its two marks. Raises: ValueError when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{settings_tables()}\n\n{END}{after}"


def _section(group: type[Group]) -> str:
    title, _, meaning = (group.__doc__ or "").partition(": ")
    rows = [
        f"| `{variable}` | {_default(group, field)} | {group.model_fields[field].description} |"
        for variable, field in group.variables().items()
    ]
    sentence = f"{meaning[:1].upper()}{meaning[1:]}"
    return "\n".join([f"### {title}", "", sentence, "", "| variable | default | meaning |", "|---|---|---|", *rows])


def _default(group: type[Group], field: str) -> str:
    text = text_of(group.model_fields[field].default)
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
