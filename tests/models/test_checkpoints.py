"""What is wrong with a checkpoint is said before any weight is read: which file, which tensor."""

import json
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from distmatch.errors import ConfigError, LoadError
from distmatch.models import loading
from distmatch.models.loading import load_model
from distmatch.models.quantizers import save_packed
from tests.tiny import tiny_model, tiny_tokenizer

INDEX = "model.safetensors.index.json"


@pytest.fixture(autouse=True)
def _no_weight_is_read(monkeypatch):
    def read(*_args, **_kwargs):
        raise AssertionError("the model was being loaded")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read)


@pytest.fixture
def sharded(tmp_path):
    """A tiny Llama in several files."""
    tiny_model("llama").save_pretrained(tmp_path, max_shard_size="100KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    return tmp_path


def shard_of(directory, name):
    return directory / json.loads((directory / INDEX).read_text())["weight_map"][name]


def rewritten(path, change):
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def refused(directory, message, **settings):
    with pytest.raises(LoadError, match=message):
        load_model(str(directory), device="cpu", **settings)


def test_a_missing_file_is_named_with_what_it_holds(sharded):
    path = shard_of(sharded, "model.layers.2.mlp.up_proj.weight")
    path.unlink()
    refused(sharded, rf"{path.name} is missing, which holds model\.layers.*: copy it again")


def test_a_file_without_a_promised_tensor_is_named_with_it(sharded):
    name = "model.layers.2.mlp.up_proj.weight"
    path = shard_of(sharded, name)
    rewritten(path, lambda weights: weights.pop(name))
    refused(sharded, rf"{path.name} lacks {name}, which {INDEX} promises")


def test_a_cut_file_is_named(sharded):
    path = shard_of(sharded, "model.layers.2.mlp.up_proj.weight")
    path.write_bytes(path.read_bytes()[:-10])
    refused(sharded, rf"{path.name} is corrupt or cut short")


def test_an_index_that_cannot_be_read_is_named(sharded):
    (sharded / INDEX).write_text("{")
    refused(sharded, rf"{INDEX} can't be read .*: copy or save it again")


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_a_tensor_of_another_size_is_named_with_its_file(sharded, quantization):
    name = "model.layers.1.mlp.down_proj.weight"
    path = shard_of(sharded, name)
    rewritten(path, lambda weights: weights.update({name: torch.zeros(48, 95)}))
    message = rf"{name} in .*{path.name} has shape \[48, 95\], and config\.json says \[48, 96\]"
    refused(sharded, message, quantization=quantization)


def test_packed_experts_of_another_size_are_named_too(tmp_path):
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path, max_shard_size="200KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    name = "model.layers.3.mlp.experts.down_proj_blocks"
    path = shard_of(tmp_path, name)
    rewritten(path, lambda weights: weights.update({name: weights[name][:, :, :2].clone()}))
    message = rf"{name} in .* has shape \[4, 64, 2, 16\], and config\.json says \[4, 64, 3, 16\]"
    refused(tmp_path, message, quantization="mxfp4")


def test_weights_that_have_no_room_are_refused_with_both_sizes(sharded, monkeypatch):
    memory = psutil.virtual_memory()._replace(total=400_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    # 123,312 parameters of 4 bytes, a few buffers
    refused(sharded, r"take 0\.5 MB, and cpu has 0\.4 MB in all: choose .*quantization=")
    with pytest.raises(AssertionError, match="being loaded"):  # the linear layers shrink
        load_model(str(sharded), quantization="nf4", device="cpu")


@pytest.mark.parametrize("leftover", [INDEX, "model-00009-of-00009.safetensors"])
def test_files_that_are_not_read_are_not_looked_at(tmp_path, leftover):
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (tmp_path / leftover).write_text("{}")
    with pytest.raises(AssertionError, match="being loaded"):
        load_model(str(tmp_path), device="cpu")


def test_a_checkpoint_packed_by_others_is_left_to_transformers(sharded, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=0))
    config = json.loads((sharded / "config.json").read_text())
    config |= {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (sharded / "config.json").write_text(json.dumps(config))
    with pytest.raises(AssertionError, match="being loaded"):
        load_model(str(sharded), device="cpu")


def test_float16_is_too_narrow_for_packed_experts(tmp_path):
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path)
    with pytest.raises(ConfigError, match="farther than float16: give dtype='bfloat16'"):
        load_model(str(tmp_path), quantization="mxfp4", dtype="float16")


@pytest.mark.parametrize("device", ["gpu", "cpuu"])
def test_what_is_no_device_is_refused(sharded, device):
    with pytest.raises(ConfigError, match=f'"{device}" is no device: give "cpu"'):
        load_model(str(sharded), device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(sharded):
    with pytest.raises(ConfigError, match='"cuda:1" was asked for, and torch sees no GPU'):
        load_model(str(sharded), device="cuda:1")


@pytest.mark.parametrize(
    ("rank", "device"),
    [(None, "cuda"), ("", "cuda"), ("-1", "cuda"), ("0", "cuda:0"), ("3", "cuda:1")],
)
def test_each_of_several_processes_loads_to_a_gpu_of_its_own(monkeypatch, rank, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert str(loading._placement(None)) == device
