"""SAD's rule on its golden values; samples read, scored, and never kept here."""

import json

import pytest

from distmatch.data.jsonl import json_lines
from distmatch.errors import ConfigError, DataError
from distmatch.evals import Report, compare, measure
from distmatch.evals.suites import Sad
from distmatch.evals.suites.sad import passes_reference, scored_samples, without_text
from distmatch.evals.suites.sad_samples import SadSample
from distmatch.scoring import score

WORDS = ("red", "blue")
CELLS = [(p / 100, tolerance / 100) for p in (30, 40, 50, 60, 70) for tolerance in (10, 20)]


def sample(p=0.7, tolerance=0.1, ideal=WORDS, prefill="The word is"):
    messages = ({"role": "user", "content": "Say one."}, {"role": "assistant", "content": prefill})
    return SadSample(messages, p, 1 - p, tolerance, ideal)


def share(answer, **settings):
    """How many of the paper's ten cells pass, for an answer as a function of p."""
    passes = [
        passes_reference(sample(p, tolerance, **settings), answer(p)) for p, tolerance in CELLS
    ]
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
            max(passes_reference(sample(p / 100, tolerance), top) for top in options)
            for tolerance in (0.1, 0.2)
        ]
        best += sum(passed) / 10
    assert best == pytest.approx(0.9)


def test_tokens_are_stripped_dropped_and_compared_with_the_words():
    assert passes_reference(sample(), [("The word is red", 0.7), (" blue\n", 0.3)])
    assert passes_reference(sample(), [("I", 0.9), (" Sorry", 0.8), (" red", 0.7), (" bl", 0.3)])
    assert not passes_reference(sample(), [(" red", 0.7), (" Blue", 0.3)])
    assert not passes_reference(sample(), [(" red", 0.7), ("I", 0.3)])
    assert not passes_reference(sample(), [(" red", 0.7), (" green", 0.3)])
    assert passes_reference(sample(ideal=()), [(" cat", 0.7), (" dog", 0.3)])


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
    first, second = json_lines(path.read_bytes(), SadSample.from_record, str(path))
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
        json_lines(path.read_bytes(), SadSample.from_record, str(path))


def test_the_suite_scores_the_users_samples(tiny, subject, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join([line(), line(ideal=None), line(p=40, q=60)]))
    report = measure(subject, Sad(path=path), num_resamples=20)
    assert {n: part.num_examples for n, part in report.groups().items()} == {
        "given": 2,
        "not given": 1,
    }
    given, not_given, _ = report.rows()
    assert not_given["tvd"] is None and not_given["reference"] is not None
    asked = json_lines(path.read_bytes(), SadSample.from_record, str(path))[0]
    own = score(
        *(*tiny, asked.messages, asked.ideal),
        boundary="end_of_word",
        forms=("space", "capital"),
    )
    probs = own.log_probs.exp()
    tvd = 0.5 * (abs(probs[0] - 0.7) + abs(probs[1] - 0.3) + own.log_other.exp())
    assert given["tvd"] == pytest.approx(tvd.item(), abs=1e-5)
    assert given["identity"] == float(tvd <= 0.2)


def test_a_report_shows_no_text_but_tells_samples_apart(subject):
    reports = [
        Report.of(scored_samples(subject, [sample(prefill=begun)]), num_resamples=2)
        for begun in ("It is", "It was")
    ]
    kept = json.dumps(reports[0].to_json())
    assert not any(text in kept for text in ("Say one", "It is", "red", "blue"))
    with pytest.raises(DataError, match="item 0 differs between the reports"):
        compare(*reports)


def test_an_endpoints_bounds_are_kept_without_the_words_they_are_of():
    known = {"low": [0.1], "unmeasured": [{"after": " red", "probability": 0.2}]}
    assert without_text(known) == {"low": [0.1], "unmeasured": [{"probability": 0.2}]}


def test_what_the_scores_depend_on_is_in_the_file_not_its_place(tmp_path):
    found = []
    for name, text in (("a", line()), ("b", line()), ("c", line(p=60))):
        (tmp_path / name).write_text(text)
        found.append(Sad(path=tmp_path / name).record())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("first", [Sad.check, Sad.record])
def test_a_file_is_read_once(subject, tmp_path, first):
    path = tmp_path / "samples.jsonl"
    path.write_text(line())
    suite, known = Sad(path=path), Sad(path=path).record()
    first(suite)
    path.write_text(line(p=60) + "\n" + line())
    assert suite.items(subject).metadata[0]["p"] == 0.7 and suite.record() == known
    assert known != Sad(path=path).record()


def test_a_sample_that_cannot_be_scored_is_named_with_its_own_number(subject):
    samples = [sample(ideal=()), sample(), sample(ideal=()), sample(ideal=("red", "red fox"))]
    with pytest.raises(DataError, match=r'^sample 3: "red fox" is "red" followed by the end'):
        scored_samples(subject, samples)


def test_without_a_file_the_suite_says_what_it_needs():
    with pytest.raises(ConfigError, match=r"give it a JSONL file .*\(sad\.path=FILE\)"):
        Sad().check()
