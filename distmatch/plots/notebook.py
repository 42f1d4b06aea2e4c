"""Texts, tables and a figure as HTML, for what shows itself in a notebook."""

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

from distmatch.errors import DataError, MissingExtraError

Rows = Sequence[Sequence[str]]
"""Cells of a table, the first row a header."""


def notebook_html(*parts: str | Rows, figure: Callable[[], Any] | None = None) -> str:
    """Parts below each other, and a figure if it can be drawn; whatever they hold is only shown.

    Args:
        parts: Texts and tables.
        figure: Draws one; what has none to draw, or no matplotlib, is shown without.
    """
    shown = [_text(part) if isinstance(part, str) else _table(part) for part in parts if part]
    return "\n".join([*shown, *([] if figure is None else _image(figure))])


def _text(text: str) -> str:
    return f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'


def _table(rows: Rows) -> str:
    header, *body = rows
    lines = [_cells(header, "th"), *(_cells(row, "td") for row in body)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cells(row: Sequence[str], tag: str) -> str:
    return "".join(f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in row)


def _image(draw: Callable[[], Any]) -> list[str]:
    try:
        png = draw()._repr_png_()
    except (DataError, MissingExtraError):
        return []
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return [f'<img style="max-width: 100%" src="{source}">']
