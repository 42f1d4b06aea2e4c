"""Tokenizers from metadata give the ids of the one written, of SentencePiece, of gpt-oss's."""

import json
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from distmatch.data.prompts import render_slot, special_ids
from distmatch.errors import LoadError
from distmatch.models.gguf.stored import Gguf
from distmatch.models.gguf.tokenizer import token_ids, write_tokenizer
from tests.models.gguf.tiny_gguf import TEXTS
from tests.models.gguf.writing import bpe_metadata
from tests.tiny import tiny_tokenizer

CONTROL, USER_DEFINED, BYTE = 3, 4, 6


def written(tmp_path, metadata, architecture="llama"):
    told = {"general.architecture": architecture, f"{architecture}.context_length": 512}
    gguf = Gguf(tmp_path / "a.gguf", told | metadata, {})
    write_tokenizer(gguf, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    return AutoTokenizer.from_pretrained(tmp_path), token_ids(gguf)


def test_a_byte_level_tokenizer_is_the_one_written(tmp_path):
    own = tiny_tokenizer()
    read, ids = written(tmp_path, bpe_metadata(own, len(own)))
    for text in [*TEXTS, "<|im_start|>user\nred<|im_end|>", "a<|endoftext|> b"]:
        assert read(text).input_ids == own(text).input_ids
        assert read.decode(read(text).input_ids) == text
    assert read.chat_template == own.chat_template
    assert ids["eos_token_id"] == own.eos_token_id
    assert special_ids(read) == special_ids(own)


def test_without_a_template_it_is_a_base_models(tmp_path):
    read, _ = written(tmp_path, bpe_metadata(tiny_tokenizer(chat=False), 300))
    assert read.chat_template is None
    prompt = [{"role": "user", "content": "Name a word:"}]
    assert render_slot(read, prompt).text == "Name a word:\n\n"


DIGITS = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["I", "'ll", " don", "'t", " ", " 12345", "x", "?", "\n\n"]),
        ("smollm", ["I", "'ll", " don", "'t", "  ", *DIGITS, "x", "?", "\n\n"]),
        ("llama-bpe", ["I", "'ll", " don", "'t", " ", " ", "123", "45", "x", "?\n\n"]),
        ("qwen2", ["I", "'ll", " don", "'t", " ", " ", *DIGITS, "x", "?\n\n"]),
        ("gpt-4o", ["I'll", " don't", " ", " ", "123", "45", "x", "?\n\n"]),
        ("tekken", ["I", "'ll", " don", "'t", " ", " ", *DIGITS, "x", "?\n\n"]),
        ("deepseek-coder", ["I", "'", "ll", " don", "'", "t", "  ", *DIGITS, "x", "?", "\n", "\n"]),
    ],
)
def test_text_is_cut_as_the_model_was_trained_on(pre, pieces, tmp_path):
    read, _ = written(tmp_path, bpe_metadata(tiny_tokenizer(), 300, pre))
    cut = read.backend_tokenizer.pre_tokenizer.pre_tokenize_str("I'll don't  12345x?\n\n")
    assert [piece.replace("Ġ", " ").replace("Ċ", "\n") for piece, _ in cut] == pieces


def test_gpt_osss_own_vocabulary_gives_its_ids(harmony, tmp_path):
    read, ids = written(tmp_path, bpe_metadata(harmony, len(harmony), "gpt-4o"), "gpt-oss")
    for text in [
        *TEXTS,
        "It's DON'T I'LL camelCase HTTPServer 12345 ½ x²/y\r\n\r\n  //",
        "ǅ 한국어",
    ]:
        assert read(text).input_ids == harmony(text).input_ids
    message = [{"role": "user", "content": "Say red or blue."}]
    assert read.apply_chat_template(message) == harmony.apply_chat_template(message)
    assert harmony.convert_tokens_to_ids("<|end|>") == 200007
    assert sorted(ids["eos_token_id"]) == [199999, 200002, 200012]  # as published


def sentencepiece_metadata(prefix=True, more=()):
    """A vocabulary with bytes and pieces, their scores the order in which they were merged."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=150, show_progress=False)
    trained.train_from_iterator(["the red fox saw the reader and the bread of the foxes"], trainer)
    model = json.loads(trained.to_str())["model"]
    joined = ["".join(merge) for merge in model["merges"]]
    letters = [token for token in model["vocab"] if token not in joined]
    first = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    kinds = [2, CONTROL, CONTROL, *[BYTE] * 256]
    pieces = [*joined, *letters]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*first, *pieces, *more],
        "tokenizer.ggml.token_type": [*kinds, *[1] * len(pieces), *[USER_DEFINED] * len(more)],
        "tokenizer.ggml.scores": [
            *[0.0] * len(first),
            *[-float(rank) for rank in range(len(pieces))],
            *[-1000.0] * len(more),
        ],
        "tokenizer.ggml.add_space_prefix": prefix,
    }


def joined_pieces(text, metadata):
    """SentencePiece's own way: join the neighbours whose whole scores highest, leftmost first."""
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    scores = {
        token: score
        for token, score, kind in zip(tokens, metadata["tokenizer.ggml.scores"], kinds, strict=True)
        if kind == 1
    }
    pieces = list(text.replace(" ", "▁"))
    while True:
        wholes = [left + right for left, right in pairwise(pieces)]
        known = [(-scores[whole], at) for at, whole in enumerate(wholes) if whole in scores]
        if not known:
            break
        at = min(known)[1]
        pieces[at : at + 2] = [wholes[at]]
    ids = []
    for piece in pieces:
        own = [piece] if piece in scores else [f"<0x{byte:02X}>" for byte in piece.encode()]
        ids += [tokens.index(token) for token in own]
    return ids


SENTENCES = ["the red bread", "reader of foxes", "  two  spaces ", "thethe\nZ 🦊 naïve", "fox"]


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("prefix", [True, False])
def test_pieces_join_as_sentencepiece_joins_them(text, prefix, tmp_path):
    metadata = sentencepiece_metadata(prefix)
    read, _ = written(tmp_path, metadata)
    ids = read(text).input_ids
    assert ids[0] == 1  # begins by itself
    assert ids[1:] == joined_pieces(f" {text}" if prefix else text, metadata)
    assert read.decode(ids[1:]) == text


def test_given_tokens_of_sentencepiece_stand_whole(tmp_path):
    metadata = sentencepiece_metadata(False, more=["<start_of_turn>", "<end_of_turn>", "   "])
    read, ids = written(tmp_path, metadata, "gemma3")
    tokens = metadata["tokenizer.ggml.tokens"]
    found = read("<start_of_turn>the   fox<end_of_turn>").input_ids
    places = [tokens.index(token) for token in ("<start_of_turn>", "   ", "<end_of_turn>")]
    assert set(places) <= set(found)
    assert ids["eos_token_id"] == [2, tokens.index("<end_of_turn>")]


def test_phi_3s_tokens_take_the_white_space_behind_them(tmp_path):
    metadata = sentencepiece_metadata(more=["<|end|>"]) | {"general.name": "Phi 3 Mini"}
    metadata["tokenizer.ggml.token_type"][-1] = CONTROL
    metadata["general.name"] = "Phi3 Mini"
    read, ids = written(tmp_path, metadata, "phi3")
    end = len(metadata["tokenizer.ggml.tokens"]) - 1
    assert read("<|end|>\nfox").input_ids == read("<|end|>fox").input_ids
    assert ids["eos_token_id"] == [2, end]


@pytest.mark.parametrize(
    ("more", "first", "last"),
    [
        ({"tokenizer.ggml.add_bos_token": True}, [0], []),
        ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}, [0], [2]),
        ({"tokenizer.ggml.pre": "llama-bpe"}, [0], []),
        ({}, [], []),
    ],
)
def test_texts_begin_and_end_as_the_file_says(more, first, last, tmp_path):
    own = tiny_tokenizer()
    metadata = bpe_metadata(own, 300) | {"tokenizer.ggml.bos_token_id": 0} | more
    read, _ = written(tmp_path, metadata)
    assert read("red fox").input_ids == [*first, *own("red fox").input_ids, *last]


def test_every_id_that_ends_a_turn_is_an_end(tmp_path):
    metadata = bpe_metadata(tiny_tokenizer(), 300) | {
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.eot_token_id": 2,
        "tokenizer.ggml.eom_token_id": 1,
    }
    assert written(tmp_path, metadata)[1]["eos_token_id"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("architecture", "name", "ends"),
    [
        ("qwen2", "<|endoftext|>", [2, 0]),  # as Qwen publishes it
        ("gemma3", "<eos>", [2, 0]),
        ("llama", "<|end_of_text|>", [2, 0]),
        ("llama", "<|endoftext|>", 2),  # SmolLM's pads, and ends nothing
    ],
)
def test_what_ends_a_text_is_an_end_as_published(architecture, name, ends, tmp_path):
    metadata = bpe_metadata(tiny_tokenizer(), 300)
    metadata["tokenizer.ggml.tokens"][0] = name
    assert written(tmp_path, metadata, architecture)[1]["eos_token_id"] == ends


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tokenizer.ggml.model": "rwkv"}, 'unknown kind of tokenizer "rwkv"; known: gpt2, llama'),
        ({"tokenizer.ggml.pre": "viking"}, r'pre\) "viking"; known: gpt-2, .*newer conversion'),
        ({"tokenizer.ggml.pre": None}, r'pre\) "None"'),
        ({"tokenizer.ggml.tokens": None}, r"a\.gguf holds no vocabulary"),
        ({"tokenizer.ggml.model": "llama"}, r"lacks tokenizer\.ggml\.scores"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_named(change, match, tmp_path):
    with pytest.raises(LoadError, match=match):
        written(tmp_path, bpe_metadata(tiny_tokenizer(), 300) | change)


def test_old_files_of_gpt_2_say_nothing_of_how_they_cut(tmp_path):
    metadata = bpe_metadata(tiny_tokenizer(), 300) | {"tokenizer.ggml.pre": None}
    read, _ = written(tmp_path, metadata, "gpt2")
    assert read("red fox").input_ids == tiny_tokenizer()("red fox").input_ids
