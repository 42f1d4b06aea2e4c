"""A folder's page, as every command that leaves a folder writes it."""

from collections.abc import Callable
from pathlib import Path

from distmatch.plots import drawn
from distmatch.reports import Page, save_page
from distmatch.reports.saving import REPORT_PAGE


def left_page(folder: str | Path, page: Callable[[], Page]) -> str:
    """Write a page into a folder; what was written, or why it couldn't be.

    Args:
        folder: Where to.
        page: What makes it.
    """
    return drawn(Path(folder) / REPORT_PAGE, lambda path: save_page(page(), path))
