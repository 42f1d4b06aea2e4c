"""Rows of a task to choose learning rates by: drawn after those that are reported on."""

from collections.abc import Callable, Iterable, Sequence

from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError, DataError

_DRAWN_FOR_ONE = 8  # where prompts are few, most of those drawn are known


def spare_rows(
    draw: Callable[[int], Sequence[Example]], wanted: int, num_reported: int
) -> Sequence[Example]:
    """Many more test rows than are wanted, since the first may be those that are reported on.

    Args:
        draw: So many test rows of the task.
        wanted: How many are to choose.
        num_reported: How many of the task's are reported on.

    Raises:
        DataError: None are wanted, or they can't be drawn.
    """
    if wanted < 1:
        raise DataError(f"tuning.n_test is {wanted}, expected at least 1")
    return draw(num_reported + _DRAWN_FOR_ONE * wanted)


def unknown_rows(
    spare: Sequence[Example], wanted: int, known: Iterable[Sequence[Example]]
) -> list[Example]:
    """The first of the spare rows whose prompts are neither trained nor reported on.

    Args:
        spare: What `spare_rows` drew.
        wanted: How many.
        known: All that is trained and reported on.

    Raises:
        ConfigError: There aren't as many.
    """
    prompts = {fingerprint(row.prompt) for rows in known for row in rows}
    tuning = [row for row in spare if fingerprint(row.prompt) not in prompts][:wanted]
    if len(tuning) < wanted:
        raise ConfigError(
            f"tuning.n_test is {wanted}, but of {len(spare)} rows drawn for it only "
            f"{len(tuning)} have prompts that aren't in [data] or a transfer: ask for fewer"
        )
    return tuning
