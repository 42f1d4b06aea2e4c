"""The MXFP4 number format, in which gpt-oss publishes its experts.

32 neighbours along a row share one power of two; each of them is four bits: a sign, two bits of
exponent and one of fraction, so one of 0, 0.5, 1, 1.5, 2, 3, 4, 6 or its negative (OCP Microscaling
Formats specification 1.0, 2023). Two such codes lie in a byte, the first in its lower half.
"""

import importlib.util

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distmatch.errors import ConfigError

GROUP = 32
"""How many neighbours share a power of two."""

_BIAS = 127  # of the shared exponent
_LARGEST_EXPONENT = 2  # of 4 and 6, the largest codes
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_NOT_A_NUMBER = 255  # as a shared exponent
_HAS_TRITON = importlib.util.find_spec("triton") is not None


def dequantize(
    blocks: UInt8[Tensor, "*rows groups 16"],
    scales: UInt8[Tensor, "*rows groups"],
    dtype: torch.dtype,
) -> Float[Tensor, "*rows columns"]:
    """The numbers that some packed rows stand for, exactly.

    Args:
        blocks: Two codes a byte.
        scales: The shared exponents, 127 for 1.
        dtype: bfloat16, float32 or float64. Above the range of the first two, from 2**128 on, is
            infinity.

    Returns:
        `columns` is 32 times `groups`.

    Raises:
        ConfigError: float16, which most exponents are out of the range of.
    """
    if dtype == torch.float16:
        raise ConfigError("MXFP4 reaches farther than float16: compute in bfloat16 or float32")
    if blocks.is_cuda and _HAS_TRITON and dtype != torch.float64:
        from distmatch.models.mxfp4_triton import unpack

        return unpack(blocks, scales, dtype)
    bytes_ = torch.arange(256, dtype=torch.int16, device=blocks.device)
    codes = torch.stack((bytes_ & 0xF, bytes_ >> 4), dim=-1)
    # A code's bits at the places of float16's: the same number, but for a bias that is 14 higher
    pairs = ((codes & 8) << 12 | (codes & 7) << 9).view(torch.float16).to(dtype) * 2.0**14
    values = pairs.index_select(0, blocks.flatten().int()).view(*scales.shape, GROUP)
    return values.mul_(_powers(scales, dtype)[..., None]).flatten(-2)


def quantize(
    weights: Float[Tensor, "*rows columns"],
) -> tuple[UInt8[Tensor, "*rows groups 16"], UInt8[Tensor, "*rows groups"]]:
    """Some rows packed: blocks and scales, as `dequantize` takes them.

    The shared power of two is the largest magnitude's, over 4; each number goes to the nearest
    code, ties to the one with an even last bit, and what is above 6 to 6 (section 6.3 of the
    specification).

    Raises:
        ConfigError: Rows that don't divide into groups of 32.
    """
    if weights.shape[-1] % GROUP:
        raise ConfigError(f"MXFP4 rows are multiples of {GROUP} long, got {weights.shape[-1]}")
    groups = weights.double().unflatten(-1, (-1, GROUP))
    largest = groups.abs().amax(-1)
    exponents = torch.frexp(largest).exponent - 1 - _LARGEST_EXPONENT
    exponents = torch.where(largest > 0, exponents, -_BIAS).clamp(-_BIAS, _BIAS)
    scaled = (groups / torch.ldexp(torch.ones_like(largest), exponents)[..., None]).contiguous()
    magnitudes = torch.tensor(_MAGNITUDES, dtype=torch.float64, device=weights.device)
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    # Between code k and k + 1, the middle itself belongs to the even one
    above = torch.bucketize(scaled.abs(), middles, right=True)
    below = torch.bucketize(scaled.abs(), middles, right=False)
    codes = torch.where(above % 2 == 0, above, below) | scaled.signbit().long() << 3
    pairs = codes.unflatten(-1, (-1, 2))
    blocks = (pairs[..., 0] | pairs[..., 1] << 4).to(torch.uint8)
    return blocks, (exponents + _BIAS).to(torch.uint8)


def _powers(
    scales: UInt8[Tensor, "*rows groups"], dtype: torch.dtype
) -> Float[Tensor, "*rows groups"]:
    """2 to the exponents, written as the bits of float32, which has the same bias."""
    bits = scales.int() << 23
    bits = bits.masked_fill(scales == 0, 1 << 22)  # 2**-127 is subnormal
    bits = bits.masked_fill(scales == _NOT_A_NUMBER, 0x7FC00000)
    return bits.view(torch.float32).to(dtype)
