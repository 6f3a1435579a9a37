"""Text to HTML, escaped: the few pieces that a report is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from service.measures.intervals import Estimate

NOTHING = "–"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Cell = str | int | float | Estimate | None


def paragraph(text: str) -> Markup:
    """A paragraph; markup stays as it is."""
    return Markup(f"<p>{_text(text)}</p>")


def bullets(lines: Sequence[str]) -> Markup:
    """A list."""
    return Markup("<ul>\n" + "\n".join(f"<li>{_text(line)}</li>" for line in lines) + "\n</ul>")


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> Markup:
    """A table that scrolls where the page is narrow; what is a number in its first row stands to the right."""
    numeric = [bool(rows) and isinstance(cell, int | float | Estimate | None) for cell in (rows[0] if rows else head)]
    top = "".join(f"<th{_class(right)}>{_text(cell)}</th>" for cell, right in zip(head, numeric, strict=True))
    body = "\n".join(_row(row, numeric) for row in rows)
    title = f"<caption>{_text(caption)}</caption>" if caption else ""
    return Markup(
        f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def definitions(rows: Sequence[tuple[str, str]]) -> Markup:
    """A table of names and values, without a head."""
    body = "\n".join(
        f'<tr><th scope="row">{_text(name)}</th><td class="long">{_text(value)}</td></tr>' for name, value in rows
    )
    return Markup(f"<table><tbody>\n{body}\n</tbody></table>")


def figure(svg: str, caption: str) -> Markup:
    """A drawing with what it shows."""
    return Markup(f"<figure>{svg}<figcaption>{_text(caption)}</figcaption></figure>")


def plain(text: str) -> Markup:
    """Text without markup."""
    return Markup(escape(text))


def code(text: str) -> Markup:
    """Something to be typed, or a digest."""
    return Markup(f"<code>{escape(text)}</code>")


def estimate(value: Estimate | None) -> Markup:
    """A rate with its interval."""
    if value is None:
        return Markup(NOTHING)
    shown = number(value.value)
    if value.ci95 is None:
        return Markup(shown)
    low, high = value.ci95
    return Markup(f'{shown} <span class="interval">({number(low)} to {number(high)})</span>')


def number(value: float | None) -> str:
    """A number to three digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.3g}".replace("e-0", "e-")


def _row(cells: Sequence[Cell], numeric: Sequence[bool]) -> str:
    joined = (_cell(cell, right, place) for place, (cell, right) in enumerate(zip(cells, numeric, strict=True)))
    return f"<tr>{''.join(joined)}</tr>"


def _cell(cell: Cell, right: bool, place: int) -> str:
    if place == 0:
        return f'<th scope="row"{_class(right)}>{_value(cell)}</th>'
    return f"<td{_class(right)}>{_value(cell)}</td>"


def _value(cell: Cell) -> str:
    match cell:
        case None:
            return NOTHING
        case Estimate():
            return estimate(cell)
        case str():
            return _text(cell)
        case int():
            return f"{cell:,}"
        case float():
            return number(cell)


def _class(right: bool) -> str:
    return ' class="number"' if right else ""


def _text(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)
