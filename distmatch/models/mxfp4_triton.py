"""Unpacking MXFP4 on a GPU: one kernel that reads each byte once and writes its two numbers.

`mxfp4.dequantize` is its reference, and takes it for tensors on a GPU where Triton is installed.
"""

import inspect
import math

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

_GROUPS = 128  # a program's, of 16 bytes each


def unpack(
    blocks: UInt8[Tensor, "*rows groups 16"],
    scales: UInt8[Tensor, "*rows groups"],
    dtype: torch.dtype,
) -> Float[Tensor, "*rows columns"]:
    """What `mxfp4.dequantize` gives, in bfloat16 or float32."""
    *rows, groups = scales.shape
    values = torch.empty(*rows, 32 * groups, dtype=dtype, device=blocks.device)
    num_groups = scales.numel()
    with torch.cuda.device_of(blocks):  # a kernel starts on the current device, not on its tensors'
        _kernel[(math.ceil(num_groups / _GROUPS),)](
            blocks.contiguous(), scales.contiguous(), values, num_groups, _GROUPS
        )
    return values


def _unpack(blocks, scales, values, num_groups, GROUPS: tl.constexpr):  # noqa: ANN001
    group = tl.program_id(0).to(tl.int64) * GROUPS + tl.arange(0, GROUPS)[:, None]
    is_there = group < num_groups
    pairs = tl.load(blocks + 16 * group + tl.arange(0, 16)[None, :], mask=is_there, other=0)
    codes = tl.reshape(tl.join(pairs & 15, pairs >> 4), (GROUPS, 32)).to(tl.int32)
    exponents = (codes >> 1) & 3
    implicit = tl.where(exponents > 0, 2, 0)  # bit of the fraction, which subnormals lack
    doubled = (implicit + (codes & 1)) << tl.maximum(exponents - 1, 0)
    numbers = doubled.to(tl.float32) * tl.where(codes >= 8, -0.5, 0.5)
    shared = tl.load(scales + group, mask=is_there, other=0).to(tl.int32)
    # As the bits of float32, which has the same bias: 2**-127 is subnormal, 255 not a number
    bits = tl.where(shared == 0, 1 << 22, shared << 23)
    bits = tl.where(shared == 255, 0x7FC00000, bits)
    numbers *= bits.to(tl.float32, bitcast=True)
    tl.store(values + 32 * group + tl.arange(0, 32)[None, :], numbers, mask=is_there)


_kernel = triton.jit(inspect.unwrap(_unpack))  # without the type checks that tests put around it
