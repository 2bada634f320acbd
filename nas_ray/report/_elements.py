"""The elements that pages are made of; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from nas_ray.report._text import NONE


def section(title: str, *content: str) -> str:
    """A titled part of the page."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(filter(None, content)) + "\n</section>"


def note(text: str) -> str:
    """A paragraph in small type."""
    return f'<p class="note">{escape(text)}</p>'


def facts(facts: Iterable[tuple[str, str]]) -> str:
    """A list of names and ready HTML."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>"


def table(heads: Iterable[str], rows: str, *, sortable: bool = False) -> str:
    """A table of ready rows."""
    names = (f'<button type="button">{escape(head)}</button>' if sortable else escape(head) for head in heads)
    columns = "".join(f'<th scope="col"{_left(head)}>{name}</th>' for head, name in zip(heads, names, strict=True))
    return f'<div class="scroll"><table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>'


def _left(head: str) -> str:
    return ' class="left"' if head in ("origin", "architecture") else ""


def row(cells: Iterable[str], style: str = "") -> str:
    """A row of ready cells."""
    return f'<tr class="{style}">{"".join(cells)}</tr>' if style else f"<tr>{''.join(cells)}</tr>"


def cell(text: str, value: object, style: str = "") -> str:
    """A cell; ``value`` is what its column is sorted by."""
    key = "" if value is None else escape(str(value))
    attributes = f' class="{style}"' if style else ""
    return f'<td{attributes} data-value="{key}">{escape(text or NONE)}</td>'
