"""Calls are held against annotated shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from distmatch.losses import forward_kl
from tests.shapes import _has_shapes

Rows = Float[Tensor, "rows words"]


@dataclass
class Held:
    rows: Sequence[Rows]


class Inherits(Held):
    pass


class Methods:
    @property
    def rows(self) -> Rows | None: ...

    @staticmethod
    def taken(rows: dict[str, Rows]): ...

    @classmethod
    def called(cls, function: Callable[[Rows], None]): ...

    def plain(self, rows: Tensor, count: int = 1) -> list[int]: ...


def test_a_call_with_other_shapes_is_refused():
    log_probs = torch.full((2, 3), 1 / 3).log()
    assert forward_kl(log_probs, log_probs.exp()).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError, match="target"):
        forward_kl(log_probs, log_probs.exp()[:, :2])


@pytest.mark.parametrize(
    "given", [Held, Inherits, *(vars(Methods)[name] for name in ("rows", "taken", "called"))]
)
def test_shapes_are_found_wherever_they_are_written(given):
    assert _has_shapes(given)


@pytest.mark.parametrize(
    "given", [Methods, Methods.plain, test_a_call_with_other_shapes_is_refused]
)
def test_what_has_no_shapes_is_left_to_mypy(given):
    assert not _has_shapes(given)
