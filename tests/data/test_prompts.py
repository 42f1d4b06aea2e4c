"""Where the answer slot is, and how a word is joined to it."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import (
    Slot,
    continues_word,
    end_of_turn_ids,
    is_spaceless,
    joined,
    render_slot,
)
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.tiny import tiny_tokenizer

USER = {"role": "user", "content": "red or blue?"}
OPENED = "<|im_start|>user\nred or blue?<|im_end|>\n<|im_start|>assistant\n"

# [INST] question [/INST] answer: the space before the answer belongs to its first token.
LLAMA2_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}"
    "{% elif m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def chat():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def base():
    return tiny_tokenizer(chat=False)


@pytest.fixture(scope="module")
def llama2():
    """A tokenizer that writes `▁` for a space and begins every text with `<s>`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=90, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(["[INST] say red or blue [/INST] red? blue otter."] * 2, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=LLAMA2_TEMPLATE,
    )


def paths(tokenizer, prompt, *words, **settings):
    """The tokens of each word's first form."""
    probs = (1 / len(words),) * len(words)
    target = WordDistribution(words, probs)
    trie = Encoder(tokenizer).encode(Example(prompt=prompt, target=target, **settings))
    return [tokenizer.convert_ids_to_tokens(list(forms[0])) for forms in trie.paths]


def test_messages_go_through_the_template(chat):
    slot = render_slot(chat, (USER,))
    assert slot == Slot(OPENED, tuple(chat(OPENED)["input_ids"]), "", is_chat=True)
    assert paths(chat, (USER,), "red", "blue") == [["red"], ["blue"]]


def test_the_slot_is_where_generate_starts(chat):
    ids = chat.apply_chat_template([USER], add_generation_prompt=True, return_dict=False)
    assert render_slot(chat, (USER,)).ids == tuple(ids)


@pytest.mark.parametrize(
    ("prompt", "prefill"),
    [
        ((USER,), "I say"),
        ((USER, {"role": "assistant", "content": "I say"}), ""),
        ((USER, {"role": "assistant", "content": "I"}), " say"),
    ],
)
def test_an_answer_begun_is_continued(chat, prompt, prefill):
    slot = render_slot(chat, prompt, prefill)
    assert slot.text == OPENED + "I say"
    assert slot.joint is None
    assert paths(chat, prompt, "red", "blue", prefill=prefill) == [["Ġred"], ["Ġblue"]]


def test_messages_without_a_template_are_joined_by_blank_lines(base):
    slot = render_slot(base, ({"role": "system", "content": "Be brief."}, USER))
    assert slot.text == "Be brief.\n\nred or blue?\n\n"
    assert not slot.is_chat
    assert paths(base, (USER,), "red", "blue") == [["red"], ["blue"]]


def test_an_answer_begun_without_a_template_stands_in_its_own_paragraph(base):
    slot = render_slot(base, (USER, {"role": "assistant", "content": "I say"}))
    assert slot.text == "red or blue?\n\nI say"
    assert paths(base, (USER,), "red", "blue", prefill="I say") == [["Ġred"], ["Ġblue"]]


def test_an_assistants_words_alone_may_be_continued(base):
    assert render_slot(base, ({"role": "assistant", "content": "I say"},)).text == "I say"


@pytest.mark.parametrize("tokenizer", ["chat", "base"])
@pytest.mark.parametrize("prompt", [(USER,), "red or blue?"])
@pytest.mark.parametrize("prefill", ["I say ", "I say\n"])
def test_a_prefill_that_ends_in_white_space_is_refused(request, tokenizer, prompt, prefill):
    with pytest.raises(DataError, match=r"the prefill 'I say.+' ends in white space.*Remove it"):
        render_slot(request.getfixturevalue(tokenizer), prompt, prefill)


def test_a_prompt_that_ends_in_a_space_is_refused(base):
    message = r"'red' can't follow the prompt, which ends in 'say '.*ends in white space.*remove it"
    with pytest.raises(DataError, match=message):
        paths(base, "say ", "red", "blue")


def test_a_prompt_that_merges_with_the_word_is_refused(base):
    with pytest.raises(DataError, match="the tokenizer merges the end of the prompt with the word"):
        paths(base, "bl", "ue", "red", forms=("bare",))


def test_a_template_may_write_a_space_before_the_answer(llama2):
    slot = render_slot(llama2, (USER,))
    assert slot.text == "<s>[INST] red or blue? [/INST]"
    assert slot.joint == " "
    assert paths(llama2, (USER,), "red", "blue") == [["▁red"], ["▁blue"]]


def test_a_template_with_a_space_before_the_answer_takes_a_prefill(llama2):
    slot = render_slot(llama2, (USER,), "say")
    assert slot.text == "<s>[INST] red or blue? [/INST] say"
    assert paths(llama2, (USER,), "red", prefill="say") == [["▁red"]]


@pytest.mark.parametrize("text", ["say red or", "<s>say red or"])
def test_plain_text_begins_with_one_begin_of_text(llama2, text):
    ids = render_slot(llama2, text).ids
    assert ids.count(llama2.bos_token_id) == 1
    assert ids[0] == llama2.bos_token_id
    assert paths(llama2, text, "blue", "otter")[0] == ["▁blue"]


def test_a_rendered_chat_may_be_given_as_plain_text(llama2):
    rendered = render_slot(llama2, "<s>[INST] red or blue? [/INST]")
    assert rendered.ids == render_slot(llama2, (USER,)).ids


def test_messages_begin_with_one_begin_of_text(llama2):
    assert render_slot(llama2, (USER,)).ids.count(llama2.bos_token_id) == 1


@pytest.mark.parametrize(
    ("answer", "opening"),
    [
        ("A: {{ m['content'] }}", "B: "),  # another opening
        ("{{ m['content'] }}", "Thought: "),  # an opening that written answers lack
    ],
)
def test_a_template_that_opens_answers_otherwise_is_refused(base, answer, opening):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + '\n' }}"
        f"{{% else %}}{answer}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{opening}{{% endif %}}"
    )
    with pytest.raises(DataError, match=f"opens an answer with .*{opening}' but writes one as"):
        render_slot(tokenizer, (USER,))


def test_a_header_only_written_answers_have_is_before_the_slot():
    """As in Harmony, where the generation prompt leaves the channel to the model."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}"
        "{{ ' final' if m['role'] == 'assistant' }}\n{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
    )
    text = render_slot(tokenizer, (USER,)).text
    assert text == "<|im_start|>user\nred or blue?<|im_end|><|im_start|>assistant final\n"


# In the shape of each family's own: a template, the slot's text after the question, what a word is
# joined by
SHAPES = {
    "gemma": (
        "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<start_of_turn>user\nred or blue?<end_of_turn>\n<start_of_turn>model\n",
        "",
    ),
    "mistral": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
        "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
        "[INST] red or blue?[/INST]",
        " ",
    ),
    "deepseek coder": (
        "{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n"
        "{% else %}### Response:\n{{ m.content }}\n<|EOT|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}### Response:{% endif %}",
        "### Instruction:\nred or blue?\n### Response:\n",
        "",
    ),
    "deepseek v2": (
        "{% for m in messages %}{% if m.role == 'user' %}User: {{ m.content }}\n\n"
        "{% else %}Assistant: {{ m.content }}<end>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}",
        "User: red or blue?\n\nAssistant:",
        " ",
    ),
}


@pytest.mark.parametrize("family", SHAPES)
def test_the_slot_of_each_familys_template(family):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template, text, joint = SHAPES[family]
    slot = render_slot(tokenizer, (USER,))
    assert (slot.text, slot.joint) == (text, joint)
    begun = render_slot(tokenizer, (USER,), "I say")
    assert (begun.text, begun.joint) == (text + joint + "I say", None)
    (word,) = paths(tokenizer, (USER,), "otter")
    ids = [*slot.ids, *tokenizer.convert_tokens_to_ids(word)]
    assert tokenizer.decode(ids) == text + joint + "otter"


def test_a_template_that_changes_the_prefill_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] | replace('[', '(') + '\n' }}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"changes the prefill 'I \[say'"):
        render_slot(tokenizer, (USER,), "I [say")


def test_what_ends_a_turn(chat, base, llama2):
    assert end_of_turn_ids(base) == (base.eos_token_id,)
    assert end_of_turn_ids(chat) == (chat.convert_tokens_to_ids("<|im_end|>"),)
    assert end_of_turn_ids(llama2) == (llama2.eos_token_id,)


@pytest.mark.parametrize("between", ["", "\n", " bye "])
def test_another_token_than_end_of_text_may_end_a_turn(between):
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] }}"
        f"{between}<|im_end|><|im_start|>{{% endfor %}}"
    )
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert end_of_turn_ids(tokenizer) == tuple(sorted(ends))


def test_the_last_message_may_end_otherwise_than_those_before():
    """As in Harmony: `<|return|>` at the end of a conversation, `<|end|>` within it."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] }}"
        "{{ '<|endoftext|>' if loop.last else '<|im_end|>' }}{% endfor %}"
    )
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert end_of_turn_ids(tokenizer) == tuple(sorted(ends))


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("I say", "red", " red"),
        ("I say:", "red", " red"),
        ("I say.", "Red", " Red"),
        ("50%", "red", " red"),
        ("I say\n", "red", "red"),
        ("I say\u3000", "red", "red"),
        ("(", "red", "red"),
        ('say "', "red", "red"),
        ("say “", "red", "red"),
        ("**", "red", "red"),
        ("twenty-", "red", "red"),
        ("$", "5", "5"),
        ("I say", ", red", ", red"),
        ("I say", " red", " red"),
        ("I say", "’s", "’s"),
        ("私は", "赤", "赤"),
        ("色は「", "赤", "赤"),
        ("答えは：", "赤", "赤"),
        ("The colour", "赤", "赤"),
        ("สี", "แดง", "แดง"),
        ("цвет", "красный", " красный"),
        ("색", "빨강", " 빨강"),
        ("I say", "🦊", " 🦊"),
        ("", "red", "red"),
    ],
)
def test_a_word_is_joined_as_a_writer_would(text, word, expected):
    assert joined(Slot(text, (1,), None, is_chat=False), word, None) == expected


@pytest.mark.parametrize(
    ("form", "joint", "expected"),
    [
        ("bare", None, "red"),
        ("bare", " ", "red"),
        ("space", None, " red"),
        ("space", "", " red"),
        ("capital", None, " Red"),
        ("capital", "", "Red"),
        ("capital", " ", " Red"),
        (None, "", "red"),
        (None, " ", " red"),
    ],
)
def test_a_form_says_how_a_word_is_joined(form, joint, expected):
    assert joined(Slot("I say", (1,), joint, is_chat=False), "red", form) == expected


@pytest.mark.parametrize(
    "text", ["a", "Z", "é", "5", "_", "ø", "字", "\u0301", "\u200d", "", "\ufffd"]
)
def test_letters_digits_joiners_and_pieces_continue_a_word(text):
    assert continues_word(text)


@pytest.mark.parametrize(
    "text", [" ", "\n", ".", "'", "-", "^", "`", "$", "🦊", "<|im_end|>", "「"]
)
def test_space_punctuation_and_symbols_end_a_word(text):
    assert not continues_word(text)


def test_a_skin_tone_continues_an_emoji():
    assert continues_word("\U0001f3fd")


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("赤", True),
        ("あ", True),
        ("カ", True),
        ("แ", True),
        ("ក", True),
        ("a", False),
        ("빨", False),
    ],
)
def test_scripts_without_spaces(character, expected):
    assert is_spaceless(character) is expected


@pytest.mark.parametrize(
    ("prompt", "word", "num_tokens"),
    [("私は", "赤", 3), ("สีแดง", "แมว", 9), ("I say", "🦊", 5), ("I say:\n", "🦊", 4)],
)
def test_words_of_many_bytes_are_paths_of_many_tokens(base, prompt, word, num_tokens):
    (tokens,) = paths(base, prompt, word, boundary="end_of_turn")
    assert len(tokens) == num_tokens
    assert base.convert_tokens_to_string(tokens).strip() == word


def test_words_may_share_the_first_bytes_of_a_character(base):
    fox, dog = paths(base, "I say:\n", "🦊", "🐶")
    assert fox[:2] == dog[:2]
    assert fox[2:] != dog[2:]


@pytest.mark.parametrize(
    ("text", "takes_space"),
    [
        *dict.fromkeys(
            ("**Answer:**", '"cold"', "`x`", "the dogs'", "_so_", "'a' and 'b'"), True
        ).items(),
        *dict.fromkeys(
            ('He said "', "**", "(", '("', '**"', "say `", "snake_", "2*"), False
        ).items(),
    ],
)
def test_closing_markup_and_quotes_are_followed_by_a_space_and_opening_ones_by_none(
    text, takes_space
):
    expected = " red" if takes_space else "red"
    assert joined(Slot(text, (1,), None, is_chat=False), "red", None) == expected


def test_a_non_joiner_goes_on_with_a_word():
    book, books = "کتاب", "کتاب\u200cها"
    assert continues_word(books.removeprefix(book))
    assert continues_word("\u00ad") and continues_word("\u2060") and not continues_word("\u200b")


def test_white_space_around_a_word_is_trimmed_in_chats_alone(chat, base):
    expected = paths(chat, (USER,), "red", "blue")
    assert paths(chat, (USER,), " red", "blue \n") == expected
    assert paths(chat, (USER,), "red ", "blue", prefill="I say") == paths(
        chat, (USER,), "red", "blue", prefill="I say"
    )
    assert paths(base, "I say", " red") == [["Ġred"]]


def test_all_that_a_tokenizer_puts_before_a_text_is_scored():
    tokenizer = tiny_tokenizer(chat=False)
    before = [("<|im_start|>", 1), ("<|im_end|>", 2)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> <|im_end|> $A", special_tokens=before
    )
    slot = render_slot(tokenizer, "I say")
    assert list(slot.ids) == tokenizer("I say")["input_ids"] and slot.ids[:2] == (1, 2)
    assert paths(tokenizer, "I say", "red", "blue") == [["Ġred"], ["Ġblue"]]
    assert paths(tokenizer, (USER,), "red") == [["red"]]
    written = render_slot(tokenizer, "<|im_start|><|im_end|>I say")
    assert written.ids == slot.ids


def test_a_date_in_any_format_is_the_same_every_day():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "\n{% set fmt = '%d.%m.%y' %}{{ strftime_now(fmt) }} " + tokenizer.chat_template
    )
    assert render_slot(tokenizer, (USER,)).text.startswith("\n05.08.25 ")
