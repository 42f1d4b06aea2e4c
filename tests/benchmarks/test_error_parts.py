"""The parts of an error that was put together from known parts."""

import pytest
import torch
from error_parts import parts

ASKED = torch.tensor([0.1, 0.3, 0.7, 0.9], dtype=torch.float64)
WORD = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)[:, None, None]
PLACE = torch.tensor([0.3, -0.3], dtype=torch.float64)
NUMBERS = torch.tensor([0.5, -0.5, -0.2, 0.2], dtype=torch.float64)[:, None]


def test_each_part_is_found():
    found = parts(ASKED.logit()[:, None] + WORD + PLACE + NUMBERS, ASKED)
    assert found["word_sd"] == pytest.approx(WORD.square().mean().sqrt().item(), abs=5e-4)
    assert found["place_sd"] == pytest.approx(0.3)
    assert found["numbers_sd"] == pytest.approx(0.381, abs=5e-4)  # sqrt((0.25 + 0.04) / 2)


def test_the_only_part_there_is_explains_the_whole_tvd():
    found = parts((ASKED.logit()[:, None] + WORD).expand(3, 4, 2), ASKED)
    given = torch.sigmoid(ASKED.logit()[None] + WORD[:, :, 0])
    assert found["tvd"] == pytest.approx((given - ASKED).abs().mean().item(), abs=5e-5)
    assert found["tvd_without_word"] == 0
    assert found["tvd_without_place"] == found["tvd_without_numbers"] == found["tvd"]
