"""Models, tokenizers and adapters: what loads, what is refused and in which words."""

import json
import os
import pickle
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GptOssConfig

from distmatch.errors import ConfigError, LoadError
from distmatch.models.experts import PackedExperts
from distmatch.models.loading import load_config, load_model, load_tokenizer
from distmatch.models.quantizers import save_packed
from tests.tiny import tiny_model, tiny_tokenizer

PROMPT = "Pick a word: red or blue."


def saved(directory, family="llama", **overrides):
    model = tiny_model(family, **overrides)
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return model


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with a tiny Llama in bfloat16."""
    saved(tmp_path / "model", dtype=torch.bfloat16)
    return tmp_path / "model"


def logits(model):
    with torch.no_grad():
        return model(**tiny_tokenizer()(PROMPT, return_tensors="pt")).logits


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_the_embedded_model_loads_whole_in_eval_mode(embedded):
    model, tokenizer = embedded
    assert model.dtype == torch.float32 and not model.training
    assert model.config.use_cache
    assert model.num_parameters() == 134_515_008
    assert len(tokenizer) == model.config.vocab_size == 49152


def test_a_directory_keeps_its_dtype_and_its_numbers(checkpoint):
    model, tokenizer = load_model(str(checkpoint), device="cpu")
    assert model.dtype == torch.bfloat16 and not model.training
    torch.testing.assert_close(logits(model), logits(tiny_model("llama", dtype=torch.bfloat16)))
    assert tokenizer(PROMPT).input_ids == tiny_tokenizer()(PROMPT).input_ids


def test_an_asked_dtype_and_device_are_given(checkpoint):
    model, _ = load_model(str(checkpoint), dtype=torch.float64, device=torch.device("cpu"))
    assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    assert model.device == torch.device("cpu")
    named, _ = load_model(str(checkpoint), dtype="float64", device="cpu")
    assert named.dtype == torch.float64


def test_a_tokenizer_needs_no_model_beside_it(tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path))(PROMPT).input_ids == tiny_tokenizer()(PROMPT).input_ids


def test_nf4_packs_the_linear_layers_and_computes_in_float32_on_a_cpu(checkpoint):
    model, _ = load_model(str(checkpoint), quantization="nf4", dtype=torch.float32, device="cpu")
    packed = model.model.layers[0].mlp.up_proj
    assert packed.weight.dtype == torch.uint8
    assert packed.weight.quant_type == "nf4" and packed.compute_dtype == torch.float32
    assert model.lm_head.weight.dtype == torch.float32
    assert not model.training and logits(model).isfinite().all()


def test_an_evaluation_leaves_the_numbers_and_gradients_of_nf4_as_they_were(checkpoint):
    model, _ = load_model(str(checkpoint), quantization="nf4", dtype=torch.float32, device="cpu")
    embedded = torch.randn(1, 5, 48, requires_grad=True)
    mixed = model(inputs_embeds=embedded).logits
    (before,) = torch.autograd.grad(mixed.square().sum(), embedded)
    with torch.no_grad():
        evaluated = model(inputs_embeds=embedded).logits
    again = model(inputs_embeds=embedded).logits
    (after,) = torch.autograd.grad(again.square().sum(), embedded)
    torch.testing.assert_close(evaluated, mixed, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.gpu
def test_nf4_computes_in_bfloat16_on_a_gpu(checkpoint):
    pytest.importorskip("bitsandbytes")
    model, _ = load_model(str(checkpoint), quantization="nf4")
    packed = model.model.layers[0].mlp.up_proj
    assert packed.compute_dtype == torch.bfloat16
    assert model.device.type == packed.weight.device.type == "cuda"


def test_an_unknown_quantization_names_the_known(checkpoint):
    with pytest.raises(ConfigError, match='unknown quantization "nf8"; known: nf4'):
        load_model(str(checkpoint), quantization="nf8")


def test_a_device_map_may_name_parts(checkpoint):
    parts = ("embed_tokens", "layers", "norm", "rotary_emb")
    placed = {f"model.{part}": "cpu" for part in parts} | {"lm_head": "cpu"}
    for device in (placed, "auto"):
        model, _ = load_model(str(checkpoint), device=device)
        torch.testing.assert_close(
            logits(model).cpu(), logits(tiny_model("llama", dtype=torch.bfloat16))
        )


def test_a_device_map_that_leaves_layers_on_disk_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError, match="cpu, disk would share it, and layers that come and go"):
        load_model(str(checkpoint), device={"model": "cpu", "lm_head": "disk"})


@pytest.mark.parametrize("dtype", ["floatt32", torch.int8])
def test_an_unknown_dtype_names_the_known(checkpoint, dtype):
    with pytest.raises(ConfigError, match=r"unknown dtype .*; known: float64, float32, bfloat16"):
        load_model(str(checkpoint), dtype=dtype)


def test_experts_that_nf4_leaves_unpacked_are_refused_with_their_size(tmp_path):
    GptOssConfig(num_hidden_layers=24, num_local_experts=32).save_pretrained(tmp_path)
    # gpt-oss-20b: 24 blocks of 32 experts of 3 x 2880 x 2880 weights, 2 bytes each
    with pytest.raises(LoadError, match=r'38\.2 GB in 16 bit.*quantization="mxfp4\+nf4"'):
        load_model(str(tmp_path), quantization="nf4")


def test_experts_left_unpacked_on_purpose_are(tmp_path):
    saved(tmp_path, "gpt_oss", hidden_size=64)
    model, _ = load_model(str(tmp_path), quantization="nf4+dense-experts", device="cpu")
    assert model.model.layers[0].self_attn.q_proj.weight.dtype == torch.uint8
    assert model.model.layers[0].mlp.experts.gate_up_proj.is_floating_point()


@pytest.fixture
def published(tmp_path):
    """A directory with a tiny gpt-oss, its experts packed."""
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path / "packed")
    tiny_tokenizer().save_pretrained(tmp_path / "packed")
    return tmp_path / "packed"


def test_published_experts_stay_the_bytes_of_the_file(published):
    model, _ = load_model(str(published), quantization="mxfp4", device="cpu")
    written = load_file(published / "model.safetensors")
    packed = {name: weight for name, weight in written.items() if weight.dtype == torch.uint8}
    held = dict(model.named_parameters())
    assert len(packed) == 4 * 2 * 2  # blocks, stacks, blocks and scales
    assert all(torch.equal(held[name], weight) for name, weight in packed.items())
    unpacked, _ = load_model(str(published), device="cpu")
    torch.testing.assert_close(logits(model), logits(unpacked), rtol=1e-5, atol=1e-5)


def test_packed_experts_go_with_nf4_everywhere_else(published):
    model, _ = load_model(str(published), quantization="mxfp4+nf4", device="cpu")
    block = model.model.layers[0]
    assert isinstance(block.mlp.experts, PackedExperts)
    assert block.self_attn.q_proj.weight.quant_type == "nf4"
    assert block.mlp.router.weight.is_floating_point() and logits(model).isfinite().all()


@pytest.mark.parametrize("quantization", ["nf4", "nf4+dense-experts"])
def test_packed_experts_are_not_packed_otherwise(published, quantization):
    with pytest.raises(LoadError, match=r'packed already.*quantization="mxfp4\+nf4"'):
        load_model(str(published), quantization=quantization, device="cpu")


@pytest.mark.parametrize("quantization", ["mxfp4", "mxfp4+nf4"])
def test_a_checkpoint_that_is_not_packed_is_not_loaded_as_one(checkpoint, quantization):
    with pytest.raises(LoadError, match=f'"{re.escape(quantization)}" is for gpt-oss .* aren'):
        load_model(str(checkpoint), quantization=quantization, device="cpu")


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(LoadError, match='Did you mean "smollm2-135m"'):
        load_model("smolm2-135m")


@pytest.mark.parametrize("name", ["./nowhere", "../nowhere", "runs/a/b", "/nowhere"])
def test_a_directory_that_is_not_there_is_refused_without_asking_the_hub(name):
    with pytest.raises(LoadError, match="isn't a directory"):
        load_tokenizer(name)


def test_a_hub_id_that_cannot_be_read_is_called_by_its_name():
    with pytest.raises(LoadError, match=r'can\'t load "nobody/nothing" .* taken for a hub id'):
        load_model("nobody/nothing")


def test_an_adapters_directory_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(LoadError, match=r"no config\.json: it holds an adapter"):
        load_model(str(tmp_path))


def test_a_cut_model_file_is_named(checkpoint):
    truncate(checkpoint / "model.safetensors")
    with pytest.raises(LoadError, match=r"model\.safetensors is corrupt or cut short"):
        load_model(str(checkpoint), device="cpu")


def test_a_checkpoint_that_lacks_weights_is_refused(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"lacks model\.layers\.2\.mlp\.up_proj\.weight"):
        load_model(str(checkpoint), device="cpu")


class Bomb:
    """What runs code when unpickled."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_pickled_model_is_not_read(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    told = r"no model\.safetensors: pytorch_model\.bin is a pickle, which isn't read"
    with pytest.raises(LoadError, match=told):
        load_model(str(checkpoint), device="cpu")
    (checkpoint / "pytorch_model.bin").unlink()
    with pytest.raises(LoadError, match=r"no model\.safetensors: copy or save it again"):
        load_model(str(checkpoint), device="cpu")


def test_a_directory_without_a_tokenizer_is_refused_before_its_weights(checkpoint):
    for path in [*checkpoint.glob("tokenizer*"), *checkpoint.glob("*.jinja")]:
        path.unlink()
    with pytest.raises(
        LoadError, match=r"holds no tokenizer \(no tokenizer\.json\): save it there"
    ):
        load_model(str(checkpoint), device="cpu")


@pytest.mark.parametrize("read", [load_model, load_tokenizer, load_config])
def test_code_of_a_checkpoints_own_is_neither_run_nor_asked_about(read, checkpoint, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on stdin"))
    (checkpoint / "own.py").write_text("raise SystemExit('was run')")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text())
    tokenizer |= {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    with pytest.raises(LoadError, match="needs Python code of its own, which isn't run"):
        read(str(checkpoint))


def test_what_another_package_says_is_shown_whole(checkpoint):
    (checkpoint / "config.json").write_text('{"model_type": "lama"}')
    with pytest.raises(LoadError, match="lama") as refused:
        load_model(str(checkpoint), device="cpu")
    assert str(refused.value.__cause__).strip() in str(refused.value)
