"""gpt-oss's prompts, with its true vocabulary, against the openai-harmony package."""

import base64
from dataclasses import replace

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import end_of_turn_ids, render_slot, thinking_slot
from distmatch.data.templates import TODAY
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.tiny import tiny_tokenizer

CHANNEL, MESSAGE, END, RETURN = 200005, 200008, 200007, 200002
QUESTION = {"role": "user", "content": "Say 70% “otter”, 30% “Fuchs”."}
TEXTS = [
    "Apple Banana 7 1234567",
    "don't WE'LL HTMLParser  two  spaces\n\n\ttabs\r\nend ",
    "Füchse 狐狸 лиса ثعلب 🦊👩🏽‍🔬 naïve café",
    "x+=1; // path/to/file\n\n",
]


@pytest.fixture(scope="module")
def encoding(harmony, tmp_path_factory):
    """The package's own encoding; it checks its vocabulary's hash, so that of `harmony` too."""
    from tokenizers.pre_tokenizers import ByteLevel

    openai_harmony = pytest.importorskip("openai_harmony")
    folder = tmp_path_factory.mktemp("encodings")
    letters = sorted(ByteLevel.alphabet())
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
    rest = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(rest)
    }
    assert sorted(byte_of) == letters
    ranks = harmony.get_vocab()
    with (folder / "o200k_base.tiktoken").open("wb") as lines:
        for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
            if rank < 199998:
                line = base64.b64encode(bytes(byte_of[letter] for letter in token))
                lines.write(line + b" %d\n" % rank)
    patch = pytest.MonkeyPatch()
    patch.setenv("TIKTOKEN_ENCODINGS_BASE", str(folder))
    yield openai_harmony.load_harmony_encoding("HarmonyGptOss")
    patch.undo()


def theirs(encoding, *messages, effort="Medium"):
    """The package's ids up to where it lets the assistant begin."""
    from openai_harmony import Conversation, Message, ReasoningEffort, Role, SystemContent

    system = SystemContent.new().with_reasoning_effort(ReasoningEffort(effort))
    system = system.with_conversation_start_date(TODAY.isoformat())
    first = Message.from_role_and_content(Role.SYSTEM, system)
    conversation = Conversation.from_messages([first, *messages])
    return encoding.render_conversation_for_completion(conversation, Role.ASSISTANT)


def message(role, content, channel=None):
    from openai_harmony import Message, Role

    made = Message.from_role_and_content(Role(role), content)
    return made.with_channel(channel) if channel else made


def ours(tokenizer, *messages, **template_kwargs):
    return list(render_slot(tokenizer, messages, template_kwargs=template_kwargs).ids)


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_cut_as_the_package_cuts_it(harmony, encoding, text):
    assert harmony(text, add_special_tokens=False)["input_ids"] == encoding.encode(text)


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_a_question_at_each_effort(harmony, encoding, effort):
    expected = theirs(encoding, message("user", QUESTION["content"]), effort=effort.capitalize())
    final = [CHANNEL, *encoding.encode("final"), MESSAGE]
    assert ours(harmony, QUESTION, reasoning_effort=effort) == expected + final


def test_a_conversation(harmony, encoding):
    answer = {"role": "assistant", "content": "otter"}
    expected = theirs(
        encoding,
        message("user", QUESTION["content"]),
        message("assistant", "otter", "final"),
        message("user", "Again."),
    )
    again = {"role": "user", "content": "Again."}
    assert ours(harmony, QUESTION, answer, again)[:-3] == expected


def test_a_given_analysis_comes_before_the_slot(harmony, encoding):
    thought = "Say otter in 70 % of cases."
    answer = {"role": "assistant", "thinking": thought, "content": ""}
    analysis = [CHANNEL, *encoding.encode("analysis"), MESSAGE, *encoding.encode(thought), END]
    final = [CHANNEL, *encoding.encode("final"), MESSAGE]
    opened = theirs(encoding, message("user", QUESTION["content"]))
    start = opened[-2:]  # <|start|>assistant
    assert ours(harmony, QUESTION, answer) == opened + analysis + start + final


def test_instructions_differ_from_the_packages_by_the_templates_blank_line(harmony, encoding):
    from openai_harmony import DeveloperContent

    content = DeveloperContent.new().with_instructions("Be brief.")
    developer = message("developer", "").model_copy(update={"content": [content]})
    expected = theirs(encoding, developer, message("user", "Go."))
    for role in ("system", "developer"):
        instruction = {"role": role, "content": "Be brief."}
        found = ours(harmony, instruction, {"role": "user", "content": "Go."})[:-3]
        assert harmony.decode(found).replace("brief.\n\n", "brief.") == encoding.decode(expected)
        assert found != expected


def test_the_slot_is_behind_the_last_message_token_of_the_final_channel(harmony):
    text = render_slot(harmony, [QUESTION]).text
    assert text.endswith("<|start|>assistant<|channel|>final<|message|>")
    assert ours(harmony, QUESTION)[-1] == MESSAGE


def test_an_answer_begins_without_a_space_and_ends_its_turn(harmony):
    example = Example(prompt=[QUESTION], target=WordDistribution(("Apple", "Fuchs"), (0.7, 0.3)))
    trie = Encoder(harmony).encode(example)
    assert trie.paths[0] == ((32352,),) and trie.boundary == "end_of_turn"
    assert end_of_turn_ids(harmony) == (RETURN, END)


def test_the_date_is_the_same_every_day(harmony):
    assert f"Current date: {TODAY.isoformat()}\n" in render_slot(harmony, [QUESTION]).text


def test_effort_and_analysis_of_a_record_reach_its_prompt(harmony):
    record = {
        "prompt": [QUESTION, {"role": "assistant", "thinking": "Hm.", "content": ""}],
        "words": ["otter"],
        "probs": [1.0],
        "chat_template_kwargs": {"reasoning_effort": "high"},
    }
    example = Example.from_record(record)
    assert example.to_record() == record
    prompt = harmony.decode(Encoder(harmony).encode(example).prompt_ids)
    assert "Reasoning: high" in prompt and "<|message|>Hm.<|end|>" in prompt
    plain = replace(example, prompt=[QUESTION], chat_template_kwargs={})
    assert "Reasoning: medium" in harmony.decode(Encoder(harmony).encode(plain).prompt_ids)


@pytest.mark.parametrize(
    ("effort", "told"), [("hihg", 'Did you mean "high"'), ("minimal", "known: low, medium, high")]
)
def test_an_effort_that_harmony_does_not_know_is_refused_where_its_template_is(
    harmony, effort, told
):
    example = Example(
        prompt=[QUESTION],
        target=WordDistribution(("otter",), (1.0,)),
        chat_template_kwargs={"reasoning_effort": effort},
    )
    message = f'the chat template is Harmony\'s: unknown reasoning_effort "{effort}".*{told}'
    with pytest.raises(DataError, match=f"^row 0: {message}"):
        Encoder(harmony).encode_all([example])
    with pytest.raises(DataError, match=message):
        thinking_slot(harmony, [QUESTION], example.chat_template_kwargs)


def test_other_templates_may_know_other_efforts():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ reasoning_effort }}: " + tokenizer.chat_template
    slot = render_slot(tokenizer, [QUESTION], template_kwargs={"reasoning_effort": "minimal"})
    assert slot.text.startswith("minimal: ")


def test_columns_that_datasets_filled_with_none_are_absent():
    record = {"prompt": [QUESTION], "words": ["otter"], "probs": [1.0]}
    told = {"reasoning_effort": None, "enable_thinking": False}
    example = Example.from_record(record | {"chat_template_kwargs": told})
    assert example.chat_template_kwargs == {"enable_thinking": False}


def test_an_analysis_that_a_template_leaves_out_is_refused():
    answer = {"role": "assistant", "thinking": "s", "content": ""}
    with pytest.raises(DataError, match='writes no "thinking" before an answer'):
        render_slot(tiny_tokenizer(), [QUESTION, answer])
