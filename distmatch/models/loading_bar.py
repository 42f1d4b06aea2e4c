"""The bars that transformers shows while it reads weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

from distmatch.progress import phase


@contextmanager
def counted_as_ours() -> Iterator[None]:
    """Inside, transformers' bars are phases, with a place in a command's line.

    Those of downloads are the hub's, and stay as they are.
    """
    before = logging.set_tqdm_hook(_counted)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _counted(theirs: Callable[..., Any], args: Sequence[Any], given: dict[str, Any]) -> Any:
    """What their bar would go through, counted; their bar where they count by hand or show none."""
    items = args[0] if args else given.get("iterable")
    if items is None or not logging.is_progress_bar_enabled():
        return theirs(*args, **given)
    return _each(items, given.get("desc", "loading"))


def _each(items: Iterable[Any], name: str) -> Iterator[Any]:
    with phase(name.lower(), len(items) if isinstance(items, Sized) else None) as loading:
        for item in items:
            yield item
            loading.advance()
