"""gpt-oss from GGUF: experts stay packed, code for code and scale for scale."""

import pytest
import torch
from safetensors.torch import load_file

from distmatch.models import save_packed
from distmatch.models.experts import PackedExperts
from distmatch.models.gguf import converted_gguf
from distmatch.models.loading import load_model
from distmatch.models.mxfp4 import quantize
from tests.models.gguf.writing import write_model_gguf
from tests.tiny import tiny_model, tiny_tokenizer

IDS = torch.arange(3, 3 + 24).reshape(1, -1) * 7 % 300


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model whose rows MXFP4 can hold, its GGUF file, and a checkpoint of the published kind."""
    folder = tmp_path_factory.mktemp("gpt-oss")
    model = tiny_model("gpt_oss", hidden_size=64, num_hidden_layers=2)
    save_packed(model, folder / "published")
    tiny_tokenizer().save_pretrained(folder / "published")
    path = write_model_gguf(folder / "tiny.gguf", model, packed=True)
    return model, path, folder / "published"


@pytest.fixture(autouse=True)
def cache(monkeypatch, written):
    monkeypatch.setenv("DISTMATCH_CACHE", str(written[1].parent / "cache"))


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def test_codes_and_scales_are_those_of_the_published_checkpoint(written):
    model, path, published = written
    ours = load_file(converted_gguf(path, torch.float32) / "model.safetensors")
    theirs = load_file(published / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    gate_up = model.model.layers[1].mlp.experts.gate_up_proj.detach().mT
    blocks, scales = quantize(gate_up)
    assert torch.equal(ours["model.layers.1.mlp.experts.gate_up_proj_blocks"], blocks)
    assert torch.equal(ours["model.layers.1.mlp.experts.gate_up_proj_scales"], scales)


@pytest.mark.parametrize("quantization", ["mxfp4", None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_says_what_the_published_checkpoint_says(written, quantization, dtype):
    _, path, published = written
    options = {"quantization": quantization, "dtype": dtype, "device": "cpu"}
    read, _ = load_model(str(path), **options)
    wanted, _ = load_model(str(published), **options)
    is_packed = isinstance(read.model.layers[0].mlp.experts, PackedExperts)
    assert is_packed == (quantization == "mxfp4")
    assert torch.equal(logits(read), logits(wanted))
    assert read.config.rope_parameters == wanted.config.rope_parameters
