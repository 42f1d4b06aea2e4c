"""Every kind of tensor against its description or the package; files that are damaged."""

import struct

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from distmatch.errors import LoadError
from distmatch.models.gguf import gguf_file
from distmatch.models.gguf.stored import read_gguf
from tests.models.gguf.writing import F32, write_gguf

Kind = GGMLQuantizationType
ROWS, COLUMNS = 6, 768
NOT_UNPACKED = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64", "Q1_0"}
KINDS = [kind for kind in Kind if kind.name not in NOT_UNPACKED]
FLOATS = {Kind.F32: np.float32, Kind.F16: np.float16}


def raw_blocks(kind, rows=ROWS, columns=COLUMNS):
    """Random blocks; of the kinds that are decoded here, with scales of ordinary size."""
    if kind in FLOATS:
        return np.random.normal(size=(rows, columns)).astype(FLOATS[kind])
    values, size = GGML_QUANT_SIZES[kind]
    blocks = np.random.randint(0, 256, (rows, columns // values, size), dtype=np.uint8)
    scales = np.random.normal(size=(rows, columns // values, 2)).astype(np.float16).view(np.uint8)
    if kind in (Kind.Q4_0, Kind.Q8_0):
        blocks[..., :2] = scales[..., :2]
    elif kind == Kind.Q4_K:
        blocks[..., :4] = scales
    elif kind == Kind.Q6_K:
        blocks[..., -2:] = scales[..., :2]
    elif kind == Kind.MXFP4:
        blocks[..., 0] = np.random.randint(100, 150, blocks.shape[:-1])
    return blocks.reshape(rows, -1)


def one_tensor(path, stored, kind):
    return read_gguf(write_gguf(path, "llama", {}, {"odd.weight": (stored, kind)}))


@pytest.mark.parametrize("name", sorted(NOT_UNPACKED))
def test_what_is_refused_the_package_cannot_unpack(name):
    with pytest.raises(RuntimeError, match=name):
        gguf.dequantize(np.zeros((1, GGML_QUANT_SIZES[Kind[name]][1]), np.uint8), Kind[name])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_tensor_is_unpacked_as_the_package_does(kind, tmp_path):
    stored = raw_blocks(kind)
    read = one_tensor(tmp_path / "a.gguf", stored, kind)
    assert read.tensors["odd.weight"].shape == (ROWS, COLUMNS)
    with np.errstate(all="ignore"):
        wanted = gguf.dequantize(stored, kind)
    values = read.values("odd.weight")
    assert values.dtype == np.float32 and values.flags.writeable
    np.testing.assert_array_equal(values, wanted)


def half(block, at):
    return struct.unpack_from("<e", block, at)[0]


def q4_0(block):
    """A scale, then values j and j + 16 in the halves of byte j; 8 stands for 0."""
    codes = [byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]
    return [half(block, 0) * (code - 8) for code in codes]


def q8_0(block):
    return [half(block, 0) * code for code in struct.unpack_from("<32b", block, 2)]


def q4_k(block):
    """Eight groups of 32 with scale and minimum in 6 bit each; 64 values share 32 bytes."""
    packed = block[4:16]
    scales, minima = [], []
    for j in range(8):
        if j < 4:
            scales.append(packed[j] & 63)
            minima.append(packed[j + 4] & 63)
        else:
            scales.append((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4)
            minima.append((packed[j + 4] >> 4) | (packed[j] >> 6) << 4)
    values = []
    for j in range(8):
        bytes_ = block[16 + 32 * (j // 2) : 48 + 32 * (j // 2)]
        codes = [byte >> 4 if j % 2 else byte & 15 for byte in bytes_]
        scale, minimum = half(block, 0) * scales[j], half(block, 2) * minima[j]
        values += [scale * code - minimum for code in codes]
    return values


def q6_k(block):
    """16 groups of 16 with scales in 8 bit; 4 low bits and 2 high ones apart, 32 stands for 0."""
    low, high = block[:128], block[128:192]
    scales, scale = struct.unpack_from("<16b", block, 192), half(block, 208)
    values = []
    for at in range(256):
        part, within = divmod(at, 128)
        quarter, column = divmod(within, 32)
        byte = low[64 * part + 32 * (quarter % 2) + column]
        four = byte >> 4 if quarter > 1 else byte & 15
        two = high[32 * part + column] >> 2 * quarter & 3
        values.append(scale * scales[at // 16] * ((four | two << 4) - 32))
    return values


def mxfp4(block):
    """A power of two with 127 for 1, then codes j and j + 16 in the halves of byte j."""
    magnitudes = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    codes = [byte & 15 for byte in block[1:]] + [byte >> 4 for byte in block[1:]]
    signed = [magnitudes[code & 7] * (-1 if code & 8 else 1) for code in codes]
    return [2.0 ** (block[0] - 127) * value for value in signed]


@pytest.mark.parametrize("decode", [q4_0, q8_0, q4_k, q6_k, mxfp4])
def test_a_tensor_has_the_values_its_description_gives(decode, tmp_path):
    kind = Kind[decode.__name__.upper()]
    stored = raw_blocks(kind)
    size = GGML_QUANT_SIZES[kind][1]
    blocks = [bytes(block) for block in stored.reshape(-1, size)]
    wanted = np.array([decode(block) for block in blocks]).reshape(ROWS, COLUMNS)
    values = one_tensor(tmp_path / "a.gguf", stored, kind).values("odd.weight")
    np.testing.assert_allclose(values, wanted, rtol=3e-7, atol=3e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("shape", [(3, 400_000), (1, 1 << 20), (300, 4096), (1, 32)])
def test_tensors_of_any_size_are_unpacked_whole(shape, tmp_path):
    stored = raw_blocks(Kind.Q8_0, *shape)
    read = one_tensor(tmp_path / "a.gguf", stored, Kind.Q8_0)
    np.testing.assert_array_equal(read.values("odd.weight"), gguf.dequantize(stored, Kind.Q8_0))


@pytest.fixture
def whole(tmp_path):
    tensors = {
        "first.weight": (np.ones((4, 32), np.float32), F32),
        "last.weight": (np.ones((4, 32), np.float32), F32),
    }
    metadata = {
        "llama.block_count": 1,
        "some.words": ["a", "naïve", ""],
        "some.flags": [True, False],
    }
    return write_gguf(tmp_path / "whole.gguf", "llama", metadata, tensors)


def test_metadata_are_read_as_they_were_written(whole):
    read = read_gguf(whole)
    assert read.architecture == "llama" and read.about("block_count") == 1
    assert read.metadata["some.words"] == ["a", "naïve", ""]
    assert read.metadata["some.flags"] == [True, False]


def test_a_file_without_its_end_says_how_much_is_missing(whole):
    content = whole.read_bytes()
    whole.write_bytes(content[:-1])
    with pytest.raises(
        LoadError, match=r"whole.gguf is cut short: .* promises .* bytes, and it has"
    ):
        read_gguf(whole)


@pytest.mark.parametrize("length", [4, 8, 24, 30, 60, 100, 150, 200])
def test_a_file_cut_in_its_header_is_named(whole, length):
    whole.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(
        LoadError, match=r"header of .*whole\.gguf is corrupt or cut short: download"
    ):
        read_gguf(whole)


@pytest.mark.parametrize(
    ("version", "match"),
    [
        (struct.pack("<I", 1), "of version 1, and those of versions 2 and 3 are read"),
        (struct.pack(">I", 3), "of a big-endian machine"),
    ],
)
def test_files_of_other_versions_are_refused(whole, version, match):
    content = whole.read_bytes()
    whole.write_bytes(content[:4] + version + content[8:])
    with pytest.raises(LoadError, match=match):
        read_gguf(whole)


REFUSED = [(int(Kind[name]), name) for name in sorted(NOT_UNPACKED)]


@pytest.mark.parametrize(("number", "told"), [*REFUSED, (99, "number 99")])
def test_kinds_that_cannot_be_unpacked_are_named(whole, number, told):
    content = whole.read_bytes()
    at = content.index(b"last.weight") + len(b"last.weight") + 4 + 16
    whole.write_bytes(content[:at] + struct.pack("<I", number) + content[at + 4 :])
    with pytest.raises(LoadError, match=f"last.weight in {told}, .* such as Q8_0 or Q4_K_M"):
        read_gguf(whole)


def test_rows_that_blocks_cannot_fill_are_refused(whole):
    content = whole.read_bytes()
    at = content.index(b"last.weight") + len(b"last.weight") + 4 + 16
    whole.write_bytes(content[:at] + struct.pack("<I", int(Kind.Q4_K)) + content[at + 4 :])
    with pytest.raises(LoadError, match=r"shape \[4, 32\], which blocks of 256 values \(Q4_K\)"):
        read_gguf(whole)


def test_a_gguf_file_is_known_by_its_first_bytes(whole, tmp_path):
    (tmp_path / "sha256-6a07").write_bytes(whole.read_bytes())
    (tmp_path / "text.gguf").write_text("version https://git-lfs")
    assert gguf_file(tmp_path / "sha256-6a07") == tmp_path / "sha256-6a07"
    for other in ("text.gguf", "none.gguf", "", "\0"):
        assert gguf_file(str(tmp_path / other)) is None
