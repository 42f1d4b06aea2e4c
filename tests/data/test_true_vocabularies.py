"""Llama-3's and Qwen-3's true vocabularies, with templates that write what theirs write."""

import pytest
import torch
from transformers.convert_slow_tokenizer import TikTokenConverter

from distmatch.data.batching import make_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import end_of_turn_ids, render_slot
from distmatch.data.trie import Encoder
from distmatch.scoring import row_logits
from examples.offline_gptoss import _Converter, bundled_tokenizer
from tests.tiny import tiny_model

# How both cut text before they merge bytes; Llama-3 takes digits by three, Qwen-3 one by one
CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}"
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# A written answer always begins with its thoughts, be they empty; a generation prompt does so only
# where thinking is switched off
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}"
    "<think>\n{{ m.thinking }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
USER = {"role": "user", "content": "Say 70% “otter”, 30% “Fuchs”."}
TARGET = WordDistribution(("otter", "Fuchs"), (0.7, 0.3))


@pytest.fixture(scope="module")
def llama3():
    tokenizer = bundled_tokenizer("llama3", "llama3", CUT % r"\p{N}{1,3}")
    tokenizer.eos_token, tokenizer.chat_template = "<|eot_id|>", LLAMA3
    return tokenizer


@pytest.fixture(scope="module")
def qwen3():
    tokenizer = bundled_tokenizer("qwen3", "qwen3", CUT % r"\p{N}")
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", QWEN3
    return tokenizer


@pytest.fixture(params=["llama3", "qwen3"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


class Theirs(TikTokenConverter):
    """The library's own way to split tokens."""

    def load_tiktoken_bpe(self, tiktoken_url):
        return RANKS


BYTES = {bytes([byte]): (byte + 7) % 256 for byte in range(256)}  # in no order of their ranks
RANKS = BYTES | {
    part: 256 + i
    for i, part in enumerate([b"ab", b"bc", b"abc", b"\xc3\xa9", b"abca", b"  ", b"q "])
}


def test_tokens_are_split_as_the_library_splits_them():
    ours, theirs = _Converter(), Theirs()
    ours.ranks = RANKS
    expected = theirs.extract_vocab_merges_from_model("")
    assert ours.extract_vocab_merges_from_model("") == expected
    assert expected[1][2:4] == [("a", "bc"), ("ab", "c")]


def test_the_ids_are_the_published_ones(llama3, qwen3):
    assert llama3("Hello", add_special_tokens=False)["input_ids"] == [9906]
    assert qwen3("Hello", add_special_tokens=False)["input_ids"] == [9707]
    assert llama3.convert_tokens_to_ids("<|begin_of_text|>") == 128000
    assert end_of_turn_ids(llama3) == (128009,)
    assert end_of_turn_ids(qwen3) == (151645,)


def test_llama3s_slot_is_behind_the_assistants_header(llama3):
    ids = render_slot(llama3, [USER]).ids
    header = [128006, *llama3("assistant", add_special_tokens=False)["input_ids"], 128007, 271]
    assert list(ids[-4:]) == header and ids[0] == 128000 and ids.count(128000) == 1


@pytest.mark.parametrize("told", [{}, {"enable_thinking": False}])
def test_qwen3s_slot_is_behind_its_empty_thoughts(qwen3, told):
    slot = render_slot(qwen3, [USER], template_kwargs=told)
    assert slot.text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_qwen3s_thoughts_come_before_its_slot(qwen3):
    thought = {"role": "assistant", "thinking": "Otter, mostly.", "content": ""}
    text = render_slot(qwen3, [USER, thought]).text
    assert text.endswith("<think>\nOtter, mostly.\n</think>\n\n")


def test_a_word_is_what_follows_the_slot_in_a_written_answer(tokenizer):
    trie = Encoder(tokenizer).encode(Example(prompt=[USER], target=TARGET))
    for word, (path,) in zip(TARGET.words, trie.paths, strict=True):
        messages = [USER, {"role": "assistant", "content": word}]
        whole = tuple(tokenizer.apply_chat_template(messages, return_dict=False))
        assert whole[: len(trie.prompt_ids)] == trie.prompt_ids
        rest = whole[len(trie.prompt_ids) :]
        assert rest[: len(path)] == path and tokenizer.decode(path) == word
        assert rest[len(path)] in end_of_turn_ids(tokenizer)


@torch.no_grad()
def test_packed_trees_give_what_separate_sequences_give(tokenizer):
    model = tiny_model("llama3", vocab_size=len(tokenizer) + 100, tie_word_embeddings=True)
    encoder = Encoder(tokenizer)
    tries = encoder.encode_all(
        [Example(prompt=[USER], target=TARGET), Example(prompt="The fox says", target=TARGET)]
    )
    sequences = [trie.prompt_ids + node for trie in tries for node in trie.nodes]
    separate = torch.cat([model(torch.tensor([ids])).logits[:, -1] for ids in sequences])
    packed = row_logits(model, make_batch(tries, encoder))
    torch.testing.assert_close(packed, separate, rtol=1e-4, atol=1e-4)
