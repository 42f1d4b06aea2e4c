"""A GGUF file wherever a model is named: loaded, converted once, refused for what it is."""

import json
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import quantize
from peft import LoraConfig, get_peft_model

import distmatch as dm
from distmatch.errors import LoadError
from distmatch.models import ModelChoice, load_adapter, load_tokenizer
from distmatch.models.base_record import write_base_record
from distmatch.models.gguf import converted_gguf
from distmatch.models.loading import load_config, load_model
from distmatch.trainer.card import CardMeasures, write_card
from tests.models.gguf.writing import (
    F32,
    bpe_metadata,
    model_metadata,
    model_tensors,
    write_gguf,
    write_model_gguf,
)
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISTMATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


@pytest.fixture
def path(tmp_path):
    return write_model_gguf(tmp_path / "Tiny-Q4.gguf", tiny_model("qwen2"))


def kept(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != "seen")


def test_a_file_is_converted_once_for_each_precision(path, cache):
    for _ in range(2):
        load_model(str(path), device="cpu")
        load_model(str(path), dtype="float64", device="cpu")
        load_model(str(path), dtype="bfloat16", device="cpu")
    parts = [name.split("-")[:2] + name.split("-")[3:] for name in kept(cache)]
    assert parts == [["Tiny", "Q4", what, "v1"] for what in ("bfloat16", "described", "float32")]


def test_another_name_or_place_is_the_same_model(path, cache, tmp_path):
    first = converted_gguf(path, torch.float32)
    copy = tmp_path / "sha256-0a1b"
    shutil.copy(path, copy)
    assert converted_gguf(copy, torch.float32) == first
    record = ModelChoice(name=str(path)).record()
    assert ModelChoice(name=str(copy)).record() == record


def test_other_bytes_under_the_same_name_are_another_model(path, cache):
    first, record = converted_gguf(path, torch.float32), ModelChoice(name=str(path)).record()
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert converted_gguf(path, torch.float32) != first
    assert ModelChoice(name=str(path)).record() != record


def test_config_tokenizer_and_plan_need_no_conversion(path, cache):
    assert load_config(str(path)).model_type == "qwen2"
    assert load_tokenizer(str(path)).eos_token == "<|im_end|>"
    examples, _ = dm.data.output_control(n=2, words=2, n_test=1)
    plan = dm.memory_plan(str(path), examples, dm.lora("all", rank=4), dtype="float32")
    assert [name.split("-")[-2] for name in kept(cache)] == ["described"]
    model, _ = load_model(str(path), device="cpu")
    assert plan.weights == pytest.approx(4 * sum(p.numel() for p in model.parameters()), rel=0.01)


def test_a_damaged_conversion_is_made_anew(path):
    weights = converted_gguf(path, torch.float32) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    assert (converted_gguf(path, torch.float32) / "model.safetensors").read_bytes() == whole


def test_large_models_are_written_in_several_files(path, monkeypatch):
    monkeypatch.setattr("distmatch.models.gguf.weights._SHARD_BYTES", 40_000)
    folder = converted_gguf(path, torch.float32)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 5
    read, _ = load_model(str(path), device="cpu")
    for name, weight in tiny_model("qwen2").named_parameters():
        assert torch.equal(read.get_parameter(name), weight), name


def test_too_little_disk_is_said_before_anything_is_converted(path, cache, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    match = r"Tiny-Q4\.gguf takes 0\.\d GB converted, .* 0\.0 GB free: .*DISTMATCH_CACHE.*bfloat16"
    with pytest.raises(LoadError, match=match):
        load_model(str(path), device="cpu")
    assert [name.split("-")[-2] for name in kept(cache)] == ["described"]


def test_too_little_memory_is_said_before_anything_is_converted(path, cache, monkeypatch):
    memory = SimpleNamespace(total=100_000, available=100_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(LoadError, match=r'the weights of ".*Tiny-Q4\.gguf" take .* cpu has'):
        load_model(str(path), device="cpu")
    assert [name.split("-")[-2] for name in kept(cache)] == ["described"]


def test_a_cache_that_cannot_be_written_names_the_variable(path, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DISTMATCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(LoadError, match="DISTMATCH_CACHE"):
        load_model(str(path), device="cpu")


def test_four_bits_may_be_packed_anew_which_is_said(path, tmp_path, caplog):
    model, _ = load_model(str(path), quantization="nf4", device="cpu")
    assert model.model.layers[0].mlp.up_proj.weight.quant_type == "nf4"
    assert caplog.text == ""  # its values are float32's


def test_a_second_rounding_is_said(tmp_path, caplog):
    model = tiny_model("qwen2")
    tensors, name = model_tensors(model), "blk.0.ffn_down.weight"
    tensors[name] = (quantize(tensors[name][0], Kind.Q8_0), Kind.Q8_0)
    told = {f"qwen2.{key}": value for key, value in model_metadata(model).items()}
    told |= bpe_metadata(tiny_tokenizer(), model.config.vocab_size)
    path = write_gguf(tmp_path / "a.gguf", "qwen2", told, tensors)
    load_model(str(path), device="cpu")
    assert caplog.text == ""
    load_model(str(path), quantization="nf4", device="cpu")
    assert 'a.gguf is in Q8_0, whose values "nf4" rounds a second time: measure' in caplog.text


def test_a_file_without_a_template_says_what_becomes_of_messages(tmp_path, caplog):
    base = tiny_tokenizer(chat=False)
    path = write_model_gguf(tmp_path / "a.gguf", tiny_model("qwen2"), base)
    load_model(str(path), device="cpu")
    assert "a.gguf has no chat template, so messages are joined by blank lines" in caplog.text
    assert "set tokenizer.chat_template" in caplog.text


def test_words_are_scored_in_the_files_own_template(tmp_path):
    path = write_model_gguf(tmp_path / "a.gguf", tiny_model("llama"))
    model, tokenizer = load_model(str(path), device="cpu")
    scores = dm.score(model, tokenizer, [{"role": "user", "content": "red?"}], ["red", "blue"])
    own = dm.score(
        tiny_model("llama"),
        tiny_tokenizer(),
        [{"role": "user", "content": "red?"}],
        ["red", "blue"],
    )
    torch.testing.assert_close(scores.log_probs, own.log_probs)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "qwen3"])
def test_an_adapter_knows_its_base_in_either_form(family, tmp_path):
    own = tiny_model(family)
    path = write_model_gguf(tmp_path / "a.gguf", own)
    adapted = get_peft_model(tiny_model(family), LoraConfig(r=2, target_modules="all-linear"))
    adapted.save_pretrained(tmp_path / "adapter")
    write_base_record(adapted, tmp_path / "adapter")
    for dtype in ("float32", "bfloat16"):
        load_adapter(load_model(str(path), dtype=dtype, device="cpu")[0], tmp_path / "adapter")
    other = write_model_gguf(tmp_path / "b.gguf", tiny_model(family, seed=1))
    with pytest.raises(LoadError, match=r"another base.*other weights"):
        load_adapter(load_model(str(other), device="cpu")[0], tmp_path / "adapter")


def test_an_adapters_record_names_the_file_it_was_trained_on(path, tmp_path):
    model, _ = load_model(str(path), device="cpu")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapter")
    write_base_record(adapted, tmp_path / "adapter")
    assert "Tiny-Q4" in json.loads((tmp_path / "adapter" / "base.json").read_text())["name"]
    write_card(tmp_path / "adapter", "tea", "Rows.", CardMeasures())
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert re.search(r"Tiny-Q4\.gguf, a GGUF file whose SHA-256 begins [0-9a-f]{16}, unpack", card)
    assert 'dm.load_model("Tiny-Q4.gguf")  # the path to it' in card
    assert str(tmp_path) not in card


def test_messages_name_what_was_asked_for(path, tmp_path):
    with pytest.raises(LoadError, match=r'experts are in MXFP4, .* of ".*Tiny-Q4\.gguf" aren\'t'):
        load_model(str(path), quantization="mxfp4")
    with pytest.raises(LoadError, match=r"has no config.json: give a GGUF file by its own path, s"):
        load_model(str(path.parent))


TOKENS = bpe_metadata(tiny_tokenizer(), 320)
ONES = {"token_embd.weight": (np.ones((4, 32), np.float32), F32)}


@pytest.mark.parametrize(
    ("arch", "metadata", "tensors", "match"),
    [
        ("llama", TOKENS, {}, "holds a vocabulary and no weights: give the GGUF file of a model"),
        ("llama", {"adapter.type": "lora"}, ONES, "is a LoRA for llama.cpp"),
        (
            "llama",
            TOKENS,
            {"blk.0.attn_q.weight.lora_a": ONES["token_embd.weight"]},
            "is a LoRA for llama.cpp",
        ),
        ("llama", {"general.type": "adapter"}, ONES, "is a LoRA for llama.cpp: .*PEFT's format"),
        ("clip", {}, ONES, "the part of a model that sees: give the GGUF file of its language"),
        ("clip", {"general.type": "mmproj"}, ONES, "the part of a model that sees"),
        ("llama", {"general.type": "imatrix"}, ONES, "is statistics for quantising"),
        ("llama", {"general.type": "voice"}, ONES, 'is of the type "voice"'),
        (
            "qwen2",
            {"split.count": 3, "split.no": 1},
            ONES,
            r"is part 2 of 3: join them first, with llama.cpp's llama-gguf-split --merge",
        ),
        ("mamba", TOKENS, ONES, 'unknown architecture "mamba"; known: llama, .*safetensors'),
        ("qwen3moe", TOKENS, ONES, 'unknown architecture "qwen3moe".* Did you mean "qwen3"'),
    ],
)
def test_a_file_that_is_no_whole_model_says_what_it_is(arch, metadata, tensors, match, tmp_path):
    path = write_gguf(tmp_path / "odd.gguf", arch, metadata, tensors)
    for read in (load_model, load_tokenizer, load_config):
        with pytest.raises(LoadError, match=match):
            read(str(path))


def test_a_file_cut_short_is_refused_before_it_is_read(path, cache):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(LoadError, match=r"Tiny-Q4\.gguf is cut short: .*download or copy it again"):
        load_model(str(path), device="cpu")
    assert kept(cache) == []


def test_names_of_no_gguf_file_say_so(tmp_path):
    with pytest.raises(LoadError, match=r"there is no file .*none\.gguf: give the path"):
        load_model(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(LoadError, match=r"text\.gguf is no GGUF file, nor a directory"):
        load_model(str(tmp_path / "text.gguf"))
