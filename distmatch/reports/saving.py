"""A page as one file."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from distmatch import __version__
from distmatch.errors import import_extra
from distmatch.files import write_text
from distmatch.reports import drawing
from distmatch.reports.values import ItemsView, Page

REPORT_PAGE = "report.html"
MOST_BYTES = 15_000_000
_ITEMS_A_VIEW = (1000, 300, 100, 20)


def save_page(page: Page, path: str | Path) -> None:
    """Write a page, replacing the file only when all is written.

    A view keeps at most 1000 of its items, and fewer in a page that would be larger than 15 MB, and
    says so.

    Raises:
        MissingExtraError: Jinja2 isn't installed.
    """
    for most in _ITEMS_A_VIEW:
        text = page_html(replace(page, views=[_fewer(view, most) for view in page.views]))
        if len(text.encode()) <= MOST_BYTES:
            break
    write_text(path, text)


def page_html(page: Page) -> str:
    """The page as HTML.

    Raises:
        MissingExtraError: Jinja2 isn't installed.
    """
    return str(_environment().get_template("page.html").render(page=page))


@cache
def _environment() -> Any:
    jinja2 = import_extra("jinja2", "plots")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "page"),
        autoescape=True,  # what is shown was written by anybody
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers = ("number_text", "sort_key", "strip", "dots", "across", "down", "ignored", "fields")
    environment.globals |= {name: getattr(drawing, name) for name in helpers}
    environment.globals |= {"SIDE": drawing.SIDE, "VERSION": __version__}
    return environment


def _fewer(view: Any, most: int) -> Any:
    """A view with at most so many items, taken evenly."""
    if not isinstance(view, ItemsView) or len(view.items) <= most:
        return view
    num = len(view.items)
    kept = [view.items[number * num // most] for number in range(most)]
    return replace(view, items=kept, title=f"{view.title}, {most} of {num} items")
