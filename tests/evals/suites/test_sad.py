"""SAD's rule on its golden values; samples read, scored, and never kept here."""

import json
from dataclasses import replace

import pytest
import torch

from distmatch.errors import ConfigError, DataError
from distmatch.evals import Report, compare, evaluate
from distmatch.evals.evaluation import checked_suites
from distmatch.evals.subject import LocalModel
from distmatch.evals.suites import sad
from distmatch.evals.suites.sad import reference
from distmatch.evals.suites.sad_samples import SadSample, read_sad
from distmatch.scoring import score
from tests.tiny import tiny_model, tiny_tokenizer

WORDS = ("red", "blue")
CELLS = [(p / 100, tolerance / 100) for p in (30, 40, 50, 60, 70) for tolerance in (10, 20)]


def sample(p=0.7, tolerance=0.1, ideal=WORDS, prefill="The word is"):
    messages = ({"role": "user", "content": "Say one."}, {"role": "assistant", "content": prefill})
    return SadSample(messages, p, 1 - p, tolerance, ideal)


def share(answer, **settings):
    """How many of the paper's ten cells pass, for an answer as a function of p."""
    passes = [reference(sample(p, tolerance, **settings), answer(p)) for p, tolerance in CELLS]
    return sum(passes) / len(CELLS)


def two(prob):
    return [(" red", prob), (" blue", 1 - prob)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda p: two(p), 0.7),  # perfect obedience
        (lambda p: two(1 - p), 0.7),  # the words' roles swapped
        (lambda p: two(0.5), 0.8),
        (lambda p: two(0.6), 0.7),
        (lambda p: two(0.7), 0.5),
        (lambda p: two(1.0), 0.0),  # always the likeliest
    ],
)
def test_the_reference_rule_has_its_known_quirks(answer, expected):
    assert share(answer) == expected
    assert share(answer, ideal=()) == expected


def test_two_spellings_of_one_word_pass_as_two_words():
    assert share(lambda _: [(" red", 0.6), ("red", 0.4)]) == 0.7


def test_no_answer_of_two_numbers_passes_more_than_nine_in_ten():
    best = 0.0
    for p in (30, 40, 50, 60, 70):
        options = [two(first / 100) for first in range(50, 101)]
        passed = [
            max(reference(sample(p / 100, tolerance), top) for top in options)
            for tolerance in (0.1, 0.2)
        ]
        best += sum(passed) / 10
    assert best == pytest.approx(0.9)


def test_tokens_are_stripped_dropped_and_compared_with_the_words():
    assert reference(sample(), [("The word is red", 0.7), (" blue\n", 0.3)])
    assert reference(sample(), [("I", 0.9), (" Sorry", 0.8), (" red", 0.7), (" bl", 0.3)])
    assert not reference(sample(), [(" red", 0.7), (" Blue", 0.3)])
    assert not reference(sample(), [(" red", 0.7), ("I", 0.3)])
    assert not reference(sample(), [(" red", 0.7), (" green", 0.3)])
    assert reference(sample(ideal=()), [(" cat", 0.7), (" dog", 0.3)])


def line(**changes):
    record = {
        "messages": [
            {"role": "user", "content": "red or blue?"},
            {"role": "assistant", "content": "It is"},
        ],
        **{"p": 70, "q": 30, "r": 20, "ideal": ["red", "blue"]},
    }
    return json.dumps({k: v for k, v in (record | changes).items() if v != "left out"})


def test_percents_and_fractions_are_the_same(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(line() + "\n" + line(p=0.7, q=0.3, r=0.2, ideal=None) + "\n")
    first, second = read_sad(path)
    assert (first.p, first.q, first.tolerance) == (second.p, second.q, second.tolerance)
    assert (first.ideal, second.ideal, first.prefill) == (("red", "blue"), (), "It is")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, "last message is the user's"),
        ({"messages": [{"role": "assistant", "content": "It is "}]}, "ends in white space"),
        ({"messages": "hi"}, "messages must be a list"),
        ({"p": "left out"}, "column 'p' is missing"),
        ({"p": "much"}, "p, q and r must be numbers"),
        ({"p": 130}, "p is 1.3"),
        ({"ideal": ["red"]}, "expected two words or none"),
        ({"ideal": "red"}, "ideal must be a list of words"),
    ],
)
def test_samples_that_cannot_be_used_are_named_with_their_line(tmp_path, changes, message):
    path = tmp_path / "samples.jsonl"
    path.write_text(line() + "\n" + line(**changes) + "\n")
    with pytest.raises(DataError, match=rf"samples\.jsonl:2: .*{message}"):
        read_sad(path)


def test_the_suite_scores_the_users_samples(tmp_path, monkeypatch):
    model, tokenizer = tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join([line(), line(ideal=None), line(p=40, q=60)]))
    monkeypatch.setenv(sad.PLACE, str(path))
    report = evaluate(model, tokenizer, suites=["sad"], num_resamples=20, progress=False)["sad"]
    assert {n: part.num_examples for n, part in report.groups().items()} == {
        "given": 2,
        "not given": 1,
    }
    given, not_given, _ = report.rows()
    assert not_given["tvd"] is None and not_given["reference"] is not None
    asked = read_sad(path)[0]
    own = score(
        *(model, tokenizer, asked.messages, asked.ideal),
        boundary="end_of_word",
        forms=("space", "capital"),
    )
    probs = own.log_probs.exp()
    tvd = 0.5 * (abs(probs[0] - 0.7) + abs(probs[1] - 0.3) + own.log_other.exp())
    assert given["tvd"] == pytest.approx(tvd.item(), abs=1e-5)
    assert given["identity"] == float(tvd <= 0.2)


def test_a_report_shows_no_text_but_tells_samples_apart():
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tiny_tokenizer(), progress=False)
    reports = [
        Report.of(sad.scores(subject, [sample(prefill=begun)]), num_resamples=2)
        for begun in ("It is", "It was")
    ]
    kept = json.dumps(reports[0].to_json())
    assert not any(text in kept for text in ("Say one", "It is", "red", "blue"))
    with pytest.raises(DataError, match="item 0 differs between the reports"):
        compare(*reports)


def test_an_endpoints_bounds_are_kept_without_the_words_they_are_of():
    known = {"low": [0.1], "unmeasured": [{"after": " red", "probability": 0.2}]}
    assert sad.without_text(known) == {"low": [0.1], "unmeasured": [{"probability": 0.2}]}


def test_what_the_scores_depend_on_is_the_samples_not_their_place(tmp_path, monkeypatch):
    found = []
    for name, text in (("a", line()), ("b", "\n" + line(more=1)), ("c", line(p=60))):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(sad.PLACE, str(tmp_path / name))
        found.append(sad.check()[sad.PLACE])
    assert found[0] == found[1] != found[2]


def test_a_sample_that_cannot_be_scored_is_named_with_its_own_number():
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tiny_tokenizer(), progress=False)
    samples = [sample(ideal=()), sample(), sample(ideal=()), sample(ideal=("red", "red fox"))]
    with pytest.raises(DataError, match=r'^sample 3: "red fox" is "red" followed by the end'):
        sad.scores(subject, samples)


def test_first_tokens_are_those_of_the_models_own_forward():
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    prompts = ["The red fox", "The red fox saw a", "A cat"]
    found = subject.first_tokens(prompts, 3, "")
    for prompt, top in zip(prompts, found, strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
        best = logits.softmax(-1).topk(3)
        assert [prob for _, prob in top] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert [text for text, _ in top] == [tokenizer.decode([i]) for i in best.indices]


def test_without_a_file_the_suite_says_where_it_looks(monkeypatch):
    monkeypatch.delenv(sad.PLACE, raising=False)
    with pytest.raises(ConfigError, match="set DISTMATCH_SAD to a JSONL file"):
        checked_suites(["given", "sad"])  # before anything is asked


def test_first_tokens_and_words_of_a_system_message_that_the_template_takes_none_of():
    """As of Gemma's: it stands before the user's message for both."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('not supported') }}{% endif %}"
        + str(tokenizer.chat_template)
    )
    model = tiny_model("llama", max_position_embeddings=1024)
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    user, begun = sample().messages
    system = {"role": "system", "content": "Be brief."}
    folded = {"role": "user", "content": "Be brief.\n\nSay one."}
    told, by_hand = (
        replace(sample(), messages=m) for m in ((system, user, begun), (folded, begun))
    )
    tops = subject.first_tokens([told.messages, by_hand.messages], 5, "")
    assert tops[0] == tops[1]
    rows = Report.of(sad.scores(subject, [told, by_hand]), num_resamples=5).rows()
    assert rows[0]["tvd"] == rows[1]["tvd"]
