"""Leaving a text: where answers do, held against texts and forwards worked by hand."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from distmatch.data import tasks
from distmatch.data.known import Known, known_texts
from distmatch.data.tasks.deviation import DeviationQuestion
from distmatch.evals import LocalModel, Report, measure
from distmatch.evals.suites import Deviation
from distmatch.evals.suites.deviation import (
    Departure,
    begun_prompt,
    departure,
    scored_departures,
)
from tests.evals.writing import typist

KNOWN = Known(
    "passage", "the cat", "The cat sat on the self-made mat, and the dog lay by the door."
)
NAMES = ("on_time", "in_window", "unlikely", "too_early", "never", "cut", "by_chance", "follows")


def question(**changes):
    asked = {"given": 2, "length": 3, "window": 4, "wording": "go_on"}
    return DeviationQuestion(known=KNOWN, **(asked | changes))


@dataclass(frozen=True, kw_only=True)
class Heard(LocalModel):
    """Keeps how it is asked whether no more is needed."""

    asks: list = field(default_factory=list)

    def write(self, prompts, max_tokens, is_enough, name):
        self.asks.append(is_enough)
        return super().write(prompts, max_tokens, is_enough, name)


class Unstopped(LocalModel):
    """Writes on where no more is needed."""

    def write(self, prompts, max_tokens, is_enough, name):
        return super().write(prompts, max_tokens, lambda *_: False, name)


def as_kind(kind, subject):
    return kind(model=subject.model, tokenizer=subject.tokenizer, progress=False)


def cut_after(subject, text, more=0):
    """The suite, its answers cut after a text's tokens, and some more."""
    return Deviation(room=0, spare=subject.num_tokens([text])[0] + more)


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        (" sat on the self-made mat, and the", 7, None),
        (" sat on the self-made mat, and the dog lay", 7, None),
        (" sat on the self-made mat, and the horse", 7, None),  # behind the window
        (' SAT, on the "Selfmade"\nmat - and The', 7, None),
        (" sat on the self made mat", 3, "self"),
        (" sat on the self-made kumquat", 4, "kumquat"),
        (" sat—on a mat", 2, "a"),
        (" sat, 'kumquat", 1, "'kumquat"),
        (" The cat sat on", 0, "The"),  # begins anew
        ("s sat on", 0, "s"),  # another last word of the beginning
        (" sat on", 2, None),
        ("", 0, None),
        (" ... — !", 0, None),
    ],
)
def test_texts_are_left_where_a_reader_would_say(text, place, word):
    found, span = departure(question(), text)
    assert found == place
    assert (None if span is None else text[slice(*span)]) == word


def test_metrics_are_as_worked_by_hand():
    given = [
        Departure(" ...", 3, "kumquat", True),
        Departure(" ...", 6, "a", False),
        Departure(" ...", 2, "zither", True),
        Departure(" ...", 7, None, False),
        Departure("", 0, None, False, True),
    ]
    alone = {
        "the cat": [
            Departure("", 12, None, False),
            Departure("", 7, "a", True),
            Departure("", 5, "zither", True),
            Departure("", 5, "a", False),
        ]
    }
    rows = Report.of(scored_departures([question()] * 5, given, alone), num_resamples=5).rows()

    def values(name):
        return [row[name] for row in rows]

    assert values("on_time") == [1, 0, 0, 0, 0]
    assert values("in_window") == [1, 1, 0, 0, 0]
    assert values("unlikely") == [1, 0, 1, None, None]
    assert values("too_early") == [0, 0, 1, 0, 0]
    assert values("never") == [0, 0, 0, 1, 1]
    assert values("cut") == [0, 0, 0, 0, 1]
    assert values("by_chance") == [0.25] * 5
    assert values("follows") == [0.5] * 5
    assert rows[0]["said"] == {"text": " ...", "right": 3, "word": "kumquat"}
    assert rows[0]["prompt"][-1] == {"role": "assistant", "content": "The cat"}
    assert rows[0]["cluster"] == "the cat"


def test_what_is_written_is_read_to_its_end(subject):
    texts = (" sat on the kumquat", " sat on the", " sat on the mötör")
    found = Deviation().departures(typist(subject, *texts), [question()] * 3)
    assert [answer.text for answer in found] == list(texts)
    assert [answer.word for answer in found] == ["kumquat", None, "mötör"]
    assert [answer.place for answer in found] == [3, 3, 3]


@pytest.mark.parametrize(
    ("cut", "text", "place"),
    [
        (" sat on the self-made ma", " sat on the self-made ", 4),
        (" sat on the self-made 1,0", " sat on the self-made ", 4),
        (" sat on the self-made 1,", " sat on the self-made ", 4),
        (" sat on, ", " sat on, ", 2),
        (" sat on the self-made mat, and the dog", " sat on the self-made mat, and the ", 7),
    ],
)
def test_a_word_that_was_cut_off_is_not_another(subject, cut, text, place):
    writer = typist(subject, cut + "x x", is_cut=True)
    (answer,) = cut_after(subject, cut).departures(writer, [question()])
    assert (answer.text, answer.place, answer.word) == (text, place, None)
    assert answer.is_cut == (place < 7)


@pytest.mark.parametrize("before", [" sat on m", " sat on "])
def test_a_word_cut_within_a_character_is_not_another(subject, before):
    writer = typist(subject, before + "ö", is_cut=True)
    (answer,) = cut_after(subject, before, more=1).departures(writer, [question()])
    assert (answer.text, answer.word) == (" sat on ", None)


def test_an_answer_that_ends_where_it_would_be_cut_is_whole(subject):
    writer = typist(subject, " sat on the")
    (answer,) = cut_after(subject, " sat on the").departures(writer, [question()])
    assert (answer.text, answer.is_cut) == (" sat on the", False)


def test_an_answer_may_be_as_long_as_its_own_text_whatever_is_beside_it(subject):
    long = replace(question(), length=5, window=5)
    text = " sat, on, the, self-made, mat, and, the, dog, lay, by, the, door" * 4
    suite, writer = Deviation(), typist(subject, *[text] * 2, is_cut=True)
    beside = [answer.text for answer in suite.departures(writer, [question(), long])]
    writer = typist(subject, text, is_cut=True)
    assert beside == [suite.departures(writer, [one])[0].text for one in (question(), long)]
    assert beside[0] != beside[1]


@pytest.mark.parametrize(
    "text",
    [
        " sat on the self-made mat, and the dog lay by the door",
        " sat on the self made mat",
        " sat on the self-\nmade",
        " sat, 'kumquat' on",
        "s sat on",
        " sat on 1,000,000 mats",
        " sat on the mötör",
        " ... — !",
    ],
)
def test_an_answer_is_decided_only_where_nothing_that_follows_can_change_it(subject, text):
    heard = as_kind(Heard, subject)
    Deviation().departures(typist(heard, text), [question()])
    (is_decided,) = heard.asks
    end = departure(question(), text + ".")
    through = question().length + question().window
    ends = range(len(text) + 1)
    wrong = [at for at in ends if departure(question(), text[:at] + ".") != end]
    when = [is_decided(0, text[:at]) for at in ends]
    assert when == sorted(when)  # for good
    assert not any(when[: max(wrong, default=-1) + 1])
    assert when[-1] == ((end[1] is not None and end[1][1] < len(text)) or end[0] >= through)


def test_answers_are_the_same_whether_or_not_their_writing_is_stopped(subject):
    suite = Deviation(passages=2, patterns=1, per_text=2, room=0, spare=24)
    asked = suite.questions()
    stopped = suite.departures(subject, asked)
    whole = suite.departures(as_kind(Unstopped, subject), asked)
    assert any(one.text != other.text for one, other in zip(stopped, whole, strict=True))
    assert [one._replace(text="") for one in stopped] == [one._replace(text="") for one in whole]


def test_a_word_is_unlikely_where_the_base_would_not_say_a_token_of_it(subject):
    """Held against the ten likeliest tokens found by hand."""
    tokenizer = subject.tokenizer
    chat = tokenizer.apply_chat_template(
        [*question().prompt], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(chat + question().beginning)["input_ids"]

    def is_unlikely(text, word):
        tokens = tokenizer(text)["input_ids"]
        ends = [len(tokenizer.decode(tokens[: k + 1])) for k in range(len(tokens))]
        for place in (k for k, end in enumerate(ends) if end > text.index(word)):
            with torch.no_grad():
                logits = subject.model(torch.tensor([[*ids, *tokens[:place]]])).logits[0, -1]
            if tokens[place] not in logits.topk(10).indices.tolist():
                return True
        return False

    words = ["kumquat", "red", "the", *map(chr, range(97, 123))]
    texts = [f" sat {word}" for word in words]
    found = Deviation().departures(typist(subject, *texts), [question()] * len(texts))
    assert [answer.word for answer in found] == words
    expected = [is_unlikely(text, word) for text, word in zip(texts, words, strict=True)]
    assert [answer.is_unlikely for answer in found] == expected
    assert any(expected)  # else nothing was told apart from always likely


def test_a_word_that_the_base_would_say_is_likely(subject):
    likeliest = subject.first_tokens([begun_prompt(question())], 10, "")[0]
    word = next(text for text, _ in likeliest if text.strip().isalpha())
    (answer,) = Deviation().departures(typist(subject, word), [question()])
    assert answer.word == word.strip() and not answer.is_unlikely


@pytest.mark.parametrize("seed", range(5))
def test_at_least_two_hundred_questions_about_texts_that_training_never_has(seed):
    asked = Deviation().questions(seed)
    assert len(asked) >= 200 == len({str(q.prompt) for q in asked[:200]})
    assert {q.known.kind for q in asked} == {known.kind for known in known_texts()}
    trained = {e.metadata["text"] for e in tasks.Deviation().draw(2000, 0, seed)[0]}
    assert not trained & {q.known.name for q in asked}


def test_the_suite_runs_repeats_itself_and_is_read_back(subject, tmp_path):
    suite = Deviation(passages=1, patterns=1, per_text=1, alone=1, room=0, spare=8)
    before = torch.get_rng_state()
    report = measure(subject, suite, num_resamples=10)
    assert torch.equal(torch.get_rng_state(), before)
    assert tuple(report.metrics) == NAMES
    assert set(report.groups()) == {known.kind for known in known_texts()}
    assert report.num_examples == len(report.groups())
    assert report.to_json() == measure(subject, suite, num_resamples=10).to_json()
    assert report.rows() != measure(replace(subject, seed=1), suite, num_resamples=10).rows()
    for row in report.rows():
        assert row["in_window"] + row["too_early"] + row["never"] == 1
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()
