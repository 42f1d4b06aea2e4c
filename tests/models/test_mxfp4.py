"""The number format against the specification's table, brute force and transformers' reader."""

import math

import pytest
import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from distmatch.errors import ConfigError
from distmatch.models.mxfp4 import dequantize, quantize

# The specification's table of FP4 E2M1: sign, two bits of exponent (bias 1), one of fraction
CODES = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]


def limit(dtype):
    """Where infinity begins."""
    return math.inf if dtype == torch.float64 else 2.0**128


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [0, 1, 100, 127, 128, 200, 250, 253, 254])
def test_every_byte_is_two_codes_of_the_table_the_lower_half_first(dtype, exponent):
    blocks = torch.arange(256, dtype=torch.uint8).view(16, 16)
    values = dequantize(blocks, torch.full((16,), exponent, dtype=torch.uint8), dtype)
    expected = [
        math.ldexp(CODES[code], exponent - 127)
        for byte in range(256)
        for code in (byte & 15, byte >> 4)
    ]
    in_range = [x if abs(x) < limit(dtype) else math.copysign(math.inf, x) for x in expected]
    assert values.dtype == dtype and values.double().tolist() == in_range


def test_float16_is_refused():
    packed = quantize(torch.randn(2, 32))
    with pytest.raises(ConfigError, match="farther than float16: compute in bfloat16 or float32"):
        dequantize(*packed, torch.float16)


def test_the_exponent_255_is_not_a_number():
    blocks = torch.zeros(1, 16, dtype=torch.uint8)
    assert dequantize(blocks, torch.tensor([255], dtype=torch.uint8), torch.float32).isnan().all()


def test_stacks_are_read_as_transformers_reads_them():
    blocks = torch.randint(0, 256, (2, 6, 3, 16), dtype=torch.uint8)
    scales = torch.randint(110, 135, (2, 6, 3), dtype=torch.uint8)
    theirs = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert torch.equal(dequantize(blocks, scales, torch.float32).mT, theirs)


def test_what_was_packed_once_is_packed_to_the_same_bytes_again():
    packed = quantize(torch.randn(5, 96))
    again = quantize(dequantize(*packed, torch.float32))
    assert torch.equal(again[0], packed[0]) and torch.equal(again[1], packed[1])


def test_numbers_go_to_the_nearest_code_and_ties_to_the_even_one():
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]  # between codes 0|1, 1|2, ... 6|7
    even = [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    others = [0.24, 0.26, 0.9, 2.6, 4.9, 5.1, 6.4, 7.9]
    nearest = [0.0, 0.5, 1.0, 3.0, 4.0, 6.0, 6.0, 6.0]
    row = torch.tensor([*ties, *others, 4.0])
    row = torch.cat([row, -row])
    expected = torch.tensor([*even, *nearest, 4.0])
    assert torch.equal(dequantize(*quantize(row), torch.float32), torch.cat([expected, -expected]))


def test_each_code_is_the_best_of_its_group():
    groups = torch.randn(40, 32, dtype=torch.float64) * torch.logspace(-30, 30, 40)[:, None]
    blocks, scales = quantize(groups)
    packed = dequantize(blocks, scales, torch.float64)
    # The specification's exponent: the largest magnitude's, less that of the largest code
    exponents = scales[:, 0].double() - 127
    assert torch.equal(exponents, groups.abs().amax(1).log2().floor() - 2)
    codes = torch.tensor(CODES, dtype=torch.float64) * 2 ** exponents[:, None, None]
    best = (groups[..., None] - codes).abs().amin(-1)
    torch.testing.assert_close((groups - packed).abs(), best, rtol=1e-12, atol=0)


def test_zeros_stay_zeros():
    assert torch.equal(dequantize(*quantize(torch.zeros(2, 32)), torch.float32), torch.zeros(2, 32))


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="multiples of 32 long, got 48"):
        quantize(torch.randn(2, 48))
