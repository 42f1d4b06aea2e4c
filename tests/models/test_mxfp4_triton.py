"""The kernel against its reference: in Triton's interpreter, or on a GPU where there is one."""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton")
HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined

from distmatch.models.mxfp4 import dequantize  # noqa: E402
from distmatch.models.mxfp4_triton import unpack  # noqa: E402

DEVICE = "cuda" if HAS_GPU else "cpu"


def unpacked(blocks, scales, dtype):
    return unpack(blocks.to(DEVICE), scales.to(DEVICE), dtype).cpu()


def assert_same(values, reference):
    assert values.dtype == reference.dtype
    torch.testing.assert_close(values, reference, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # of the interpreter
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_every_byte_with_every_exponent(dtype):
    # The interpreter takes the subnormals of bfloat16 for 0
    lowest = 2 if dtype == torch.bfloat16 and not HAS_GPU else 0
    scales = torch.arange(lowest, 256, dtype=torch.uint8)[:, None].repeat(1, 16)
    blocks = torch.arange(256, dtype=torch.uint8).view(16, 16).repeat(len(scales), 1, 1)
    assert_same(unpacked(blocks, scales, dtype), dequantize(blocks, scales, dtype))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 7), (2, 127), (1, 129)])
def test_any_number_of_groups(shape):
    blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8)
    scales = torch.randint(100, 150, shape, dtype=torch.uint8)
    reference = dequantize(blocks, scales, torch.float32)
    assert_same(unpacked(blocks, scales, torch.float32), reference)


def test_rows_that_are_not_contiguous():
    blocks = torch.randint(0, 256, (6, 4, 3, 16), dtype=torch.uint8).transpose(0, 1)
    scales = torch.randint(100, 150, (6, 4, 3), dtype=torch.uint8).transpose(0, 1)
    reference = dequantize(blocks, scales, torch.bfloat16)
    assert_same(unpacked(blocks, scales, torch.bfloat16), reference)


COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from distmatch.models.mxfp4_triton import _kernel

for kind in ("bf16", "fp32"):
    types = {"blocks": "*u8", "scales": "*u8", "values": f"*{kind}", "num_groups": "i32"}
    source = ASTSource(_kernel, {**types, "GROUPS": "constexpr"}, {"GROUPS": 128})
    ptx = triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]
    assert ".entry _unpack" in ptx and ".ftz" not in ptx, ptx
"""


def test_it_compiles_for_a_gpu_without_flushing_subnormals_to_zero():
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILING]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weights_on_a_gpu_are_unpacked_to_the_same_numbers(dtype):
    blocks = torch.randint(0, 256, (4, 90, 90, 16), dtype=torch.uint8)
    scales = torch.randint(100, 150, (4, 90, 90), dtype=torch.uint8)
    on_gpu = dequantize(blocks.cuda(), scales.cuda(), dtype).cpu()
    assert_same(on_gpu, dequantize(blocks, scales, dtype))
