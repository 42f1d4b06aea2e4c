"""Leaving a text: where answers do, held against texts and forwards worked by hand."""

from dataclasses import replace

import pytest
import torch

from distmatch.data.known import Known, known_texts
from distmatch.data.tasks.deviation import Deviation, DeviationQuestion
from distmatch.evals import Report, evaluate
from distmatch.evals.subject import LocalModel
from distmatch.evals.suites import deviation as suite
from distmatch.evals.suites.deviation import Answer, answers, departure, questions, scores
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from tests.tiny import tiny_model, tiny_tokenizer

KNOWN = Known(
    "passage", "the cat", "The cat sat on the self-made mat, and the dog lay by the door."
)
NAMES = ("on_time", "in_window", "unlikely", "too_early", "never", "cut", "by_chance", "follows")


def question(**changes):
    asked = {"given": 2, "length": 3, "window": 4, "wording": "go_on"}
    return DeviationQuestion(known=KNOWN, **(asked | changes))


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()


@pytest.fixture
def writing(tiny, monkeypatch):
    """A subject whose model writes given texts, each ended unless it is cut."""
    model, tokenizer = tiny

    def subject(*texts, is_cut=False):
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [2] * (longest - len(row) + (not is_cut)) for row in rows])

        def generate(self, input_ids, **settings):
            return torch.cat([input_ids, padded], dim=1)

        monkeypatch.setattr(type(model), "generate", generate)
        return LocalModel(model=model, tokenizer=tokenizer, progress=False)

    return subject


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
        Answer(" ...", 3, "kumquat", True),
        Answer(" ...", 6, "a", False),
        Answer(" ...", 2, "zither", True),
        Answer(" ...", 7, None, False),
        Answer("", 0, None, False, True),
    ]
    alone = {
        "the cat": [
            Answer("", 12, None, False),
            Answer("", 7, "a", True),
            Answer("", 5, "zither", True),
            Answer("", 5, "a", False),
        ]
    }
    rows = Report.of(scores([question()] * 5, given, alone), num_resamples=5).rows()

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


def test_what_is_written_is_read_to_its_end(writing):
    subject = writing(" sat on the kumquat", " sat on the", " sat on the mötör")
    found = answers(subject, [question()] * 3)
    assert [answer.text for answer in found] == [
        " sat on the kumquat",
        " sat on the",
        " sat on the mötör",
    ]
    assert [answer.word for answer in found] == ["kumquat", None, "mötör"]
    assert [answer.place for answer in found] == [3, 3, 3]


@pytest.fixture
def cut_after(monkeypatch):
    """Has answers cut after a text's tokens."""

    def cut(text):
        monkeypatch.setattr(suite, "_ROOM", 0)
        monkeypatch.setattr(suite, "_SPARE", len(tiny_tokenizer()(text)["input_ids"]))

    return cut


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
def test_a_word_that_was_cut_off_is_not_another(writing, cut_after, cut, text, place):
    cut_after(cut)
    (answer,) = answers(writing(cut + "x x", is_cut=True), [question()])
    assert (answer.text, answer.place, answer.word) == (text, place, None)
    assert answer.is_cut == (place < 7)


def test_a_word_cut_within_a_character_is_not_another():
    assert suite._CUT.sub("", " sat on m\ufffd") == " sat on "
    assert suite._CUT.sub("", " sat \ufffd") == " sat "


def test_an_answer_that_ends_where_it_would_be_cut_is_whole(writing, cut_after):
    cut_after(" sat on the")
    (answer,) = answers(writing(" sat on the"), [question()])
    assert (answer.text, answer.is_cut) == (" sat on the", False)


def test_an_answer_is_cut_at_its_own_limit_whatever_is_beside_it(writing):
    long = replace(question(), length=5, window=5)
    text = " sat, on, the, self-made, mat, and, the, dog, lay, by, the, door" * 4
    subject = writing(*[text] * 2, is_cut=True)
    beside = [answer.text for answer in answers(subject, [question(), long])]
    subject = writing(text, is_cut=True)
    assert beside == [answers(subject, [one])[0].text for one in (question(), long)]
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
def test_an_answer_is_decided_only_where_nothing_that_follows_can_change_it(tiny, text):
    tokenizer = tiny[1]
    prompt, tokens = ((tuple(tokenizer(t)["input_ids"])) for t in ("The cat", text))
    is_decided = suite._decided(tokenizer, [(question(), prompt, 100)])
    end = departure(question(), text + ".")
    through = question().length + question().window
    wrong = [at for at in range(len(text) + 1) if departure(question(), text[:at] + ".") != end]
    when = [is_decided(0, tokens[:k]) for k in range(len(tokens) + 1)]
    assert when == sorted(when)  # for good
    for k in range(len(tokens)):
        if when[k]:
            assert len(tokenizer.decode(tokens[:k])) > max(wrong, default=-1)
    assert when[-1] == ((end[1] is not None and end[1][1] < len(text)) or end[0] >= through)
    assert suite._decided(tokenizer, [(question(), prompt, len(tokens) - 1)])(0, tokens)


def test_answers_are_the_same_whether_or_not_their_writing_is_stopped(tiny, monkeypatch):
    """Three batches, so that one which ends early may not change the next."""
    model, tokenizer = tiny
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False, batch_size=5)
    asked, steps = questions()[::16], []
    hook = model.register_forward_hook(lambda *_: steps.append(1))
    stopped, num_stopped = answers(subject, asked), len(steps)
    monkeypatch.setattr(suite, "_decided", lambda *_: lambda row, tokens: False)
    whole = answers(subject, asked)
    hook.remove()
    assert len(asked) > 10 and 3 * num_stopped < len(steps) - num_stopped
    assert any(one.text != other.text for one, other in zip(stopped, whole, strict=True))
    assert [answer._replace(text="") for answer in stopped] == [
        answer._replace(text="") for answer in whole
    ]


@pytest.mark.parametrize("has_adapter", [False, True])
def test_a_word_is_unlikely_where_the_base_would_not_say_a_token_of_it(has_adapter):
    model, tokenizer = tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()
    if has_adapter:
        model = attach_lora(model, lora("all", rank=4)).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.3)
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False, batch_size=7)
    before = tuple(tokenizer("The cat sat")["input_ids"])
    words = [(before, (i, j)) for i in range(20, 60, 2) for j in (70, 90)] + [(before, ())]
    base = model.get_base_model() if has_adapter else model

    def is_among_ten(ids, token):
        with torch.no_grad():
            if has_adapter:
                with model.disable_adapter():
                    logits = base(input_ids=torch.tensor([ids])).logits[0, -1]
            else:
                logits = base(input_ids=torch.tensor([ids])).logits[0, -1]
        return token in logits.topk(10).indices.tolist()

    expected = [
        not (is_among_ten(before, one) and is_among_ten((*before, one), other))
        for one, other in (word for _, word in words[:-1])
    ]
    assert suite._unlikely(subject, words) == [*expected, False]


def test_likely_words_are_found_as_such(tiny):
    model, tokenizer = tiny
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    before, word = tuple(tokenizer("The cat sat")["input_ids"]), []
    for _ in range(3):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*before, *word]])).logits[0, -1]
        word.append(int(logits.topk(10).indices[-1]))
    assert suite._unlikely(subject, [(before, tuple(word))]) == [False]


@pytest.mark.parametrize("seed", range(5))
def test_at_least_two_hundred_questions_about_texts_that_training_never_has(seed):
    asked = questions(seed)
    assert len(asked) >= 200 == len({str(q.prompt) for q in asked[:200]})
    assert {q.known.kind for q in asked} == {known.kind for known in known_texts()}
    trained = {e.metadata["text"] for e in Deviation().draw(2000, 0, seed)[0]}
    assert not trained & {q.known.name for q in asked}


def test_the_suite_runs_repeats_itself_and_is_read_back(tiny, tmp_path, monkeypatch):
    few = questions()[::60]
    monkeypatch.setattr(suite, "questions", lambda seed: few)
    before = torch.get_rng_state()

    def measured(seed=0):
        settings = {"num_resamples": 10, "seed": seed, "progress": False}
        return evaluate(*tiny, suites=["deviation"], **settings)["deviation"]

    report = measured()
    assert torch.equal(torch.get_rng_state(), before)
    assert tuple(report.metrics) == NAMES
    assert report.num_examples == len(few)
    assert set(report.groups()) == {q.known.kind for q in few}
    assert report.to_json() == measured().to_json()
    assert report.rows() != measured(seed=1).rows()
    for row in report.rows():
        assert row["in_window"] + row["too_early"] + row["never"] == 1
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()
