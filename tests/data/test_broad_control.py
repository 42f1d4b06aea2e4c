"""Broad control: numbers stated are targets, branches held out are held out, no way is frequent."""

import re
from collections import Counter
from fractions import Fraction

import pytest

from distmatch.data import (
    PHRASINGS,
    BroadControl,
    OutputControl,
    by_hand,
    split_words,
    word_pool,
)
from distmatch.data.jsonl import fingerprint
from distmatch.data.tasks.broad_control import BRANCHES
from distmatch.data.tasks.grammar import AGREED, FILLERS, HELD_OUT, PLACES, TUNING
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.data.test_system_messages import TAKES_NONE
from tests.tiny import tiny_tokenizer

_NAMES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
SPELLED = {name: number for number, name in enumerate(_NAMES.split(), start=1)}
SHARES = re.compile(r"(?=\b(\w+)(?:/| in | out of | of | times? in | times? out of )(\w+))")
DIGITS = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def drawn():
    """Test rows of each kind of branches."""
    pool = word_pool("nonsense")  # which stand nowhere else
    return {name: BroadControl(test_branches=name, pool=pool).draw(1, 500)[1] for name in BRANCHES}


def asked(prompt, place="user"):
    """All that is said, without requests that were answered already."""
    messages = prompt[-1:] if place == "examples" else prompt
    return "\n".join(message["content"] for message in messages)


def number(written):
    return int(written) if written.isdigit() else SPELLED.get(written.lower())


def stated(text, words):
    """Probabilities in the order they stand in, read without knowing how a text was made."""
    for word in words:
        text = text.replace(word, "W")
    pairs = [(number(part), number(whole)) for part, whole in SHARES.findall(text)]
    shares = [Fraction(part, whole) for part, whole in pairs if part and whole]
    if shares:
        return shares
    numbers = [Fraction(written) for written in DIGITS.findall(text)]
    if len(numbers) == 1:
        return numbers if numbers[0] < 1 else [numbers[0] / 100]
    return [each / sum(numbers) for each in numbers]


@pytest.mark.parametrize("branches", BRANCHES)
def test_the_stated_numbers_are_the_target(drawn, branches):
    for row in drawn[branches]:
        for one in (row, *row.rotated()):
            found = stated(asked(one.prompt, row.metadata["place"]), one.target.words)
            if row.metadata["numbers"] == "one given":
                assert len(found) == 1
                found.append(1 - found[0])
            assert [float(share) for share in found] == pytest.approx(list(one.target.probs)), row


def test_odds_ahead_of_their_words_are_in_brackets_and_all_others_as_they_were(drawn):
    said = [asked(row.prompt, row.metadata["place"]) for row in drawn["trained"]]
    odds = [text for text in said if "(weight " in text]
    assert odds
    for text in odds:
        assert re.search(r"(Say|It can be|Your word is|The answer is) \(weight \d+\) ", text)
    assert not any(re.search(r"(Say|be|is) with weight", text) for text in said)
    assert any(re.search(r"(Say|be|is) (with probability|in \d+%)", text) for text in said)
    assert not any("Weights:" in text for text in said)
    assert any(re.search(r"^Ratio: \d+( to \d+)+\nWords: ", text, re.M) for text in said)


def test_draws_are_those_of_the_recorded_runs():
    """Whatever becomes of the wording."""
    rows = BroadControl().draw(200, 1)[0]
    drawn = [
        [
            list(row.target.words),
            list(row.target.probs),
            row.metadata["ask"],
            row.metadata["numbers"],
        ]
        for row in rows
    ]
    assert fingerprint(drawn)[:12] == "e93baa1b7e2a"


def test_one_number_of_two_is_sometimes_left_out_and_never_of_three(drawn):
    numbers = Counter((r.metadata["numbers"], r.metadata["num_words"]) for r in drawn["trained"])
    assert numbers["one given", 2] > 5
    assert {k for name, k in numbers if name == "one given"} == {2}
    ways = {name for name, _ in numbers}
    assert ways == {"percent", "decimal", "fraction", "odds", "counts", "spelled", "one given"}


@pytest.mark.parametrize("branches", BRANCHES)
def test_numbers_stand_where_the_order_says(drawn, branches):
    for row in drawn[branches]:
        text = asked(row.prompt, row.metadata["place"])
        if not (digits := [match.start() for match in DIGITS.finditer(text)]):
            continue
        words = [text.index(word) for word in row.target.words]
        assert words == sorted(words)
        order = row.metadata["order"]
        ahead = [any(digit < word for digit in digits) for word in words]
        assert all(ahead) if "before" in order else not ahead[0], row
        if row.metadata["numbers"] == "one given":
            assert ahead[0] == ("before" in order), row
            continue
        between = any(words[0] < digit < words[1] for digit in digits)
        assert between == (order in ("before", "after")), row


def test_train_rows_take_no_branch_that_is_held_out():
    train, _ = BroadControl(test_branches="held_out").draw(2000, 0)
    apart = {axis: {*HELD_OUT.get(axis, ()), *TUNING.get(axis, ())} for axis in HELD_OUT}
    for row in train:
        assert row.metadata["branch"] == "trained"
        assert not any(row.metadata[axis] in values for axis, values in apart.items())
    for axis, values in apart.items():
        assert len({row.metadata[axis] for row in train} | values) >= 4, axis
    turns = {tuple(m["role"] for m in row.prompt) for row in train}
    assert turns == {("user",), ("system", "user")}


@pytest.mark.parametrize(("branches", "apart"), [("held_out", HELD_OUT), ("tuning", TUNING)])
def test_other_rows_take_one_branch_each(drawn, branches, apart):
    others = TUNING if apart is HELD_OUT else HELD_OUT
    found = Counter(row.metadata["branch"] for row in drawn[branches])
    assert set(found) == {f"{axis}: {value}" for axis in apart for value in apart[axis]}
    assert min(found.values()) > 40
    for row in drawn[branches]:
        taken = [axis for axis in apart if row.metadata[axis] in apart[axis]]
        assert [f"{axis}: {row.metadata[axis]}" for axis in taken] == [row.metadata["branch"]]
        assert not any(row.metadata[axis] in values for axis, values in others.items())


def skeleton(row):
    """The prompt with words, numbers and all that has nothing to do with it masked."""
    text = "\n".join(f"{m['role']} {m['content']}" for m in row.prompt)
    for word in sorted(row.target.words, key=len, reverse=True):
        text = text.replace(word, "W")
    for filler in (*FILLERS, *AGREED):
        text = text.replace(filler, "F")
    text = re.sub(r"^system (?!.*W)[^\n]*\n", "", text)
    return re.sub("|".join([*map(r"\b{}\b".format, SPELLED), DIGITS.pattern]), "N", text)


def test_there_are_many_ways_to_ask_and_none_is_frequent():
    train, _ = BroadControl().draw(6000, 0)
    counts = Counter(map(skeleton, train))
    assert len(counts) >= 2000
    assert max(counts.values()) <= 0.01 * len(train)
    lengths = [sum(len(m["content"].split()) for m in row.prompt) for row in train]
    assert min(lengths) <= 8 and 60 <= max(lengths) <= 90


def test_neither_the_26_wordings_nor_requests_by_hand_are_among_them():
    train, _ = BroadControl(narrow_first=True).draw(3000, 0)
    ways = set(map(skeleton, train))
    wordings, _ = OutputControl(words=(2, 3), phrasings=tuple(PHRASINGS)).draw(1500, 0)
    others = set(map(skeleton, (*wordings, *by_hand())))
    assert len(others) > 300
    assert not ways & others


def test_words_are_held_out_and_first_rows_stay_the_same():
    train, test = BroadControl().draw(60, 60, seed=3)
    sides = [{word for row in rows for word in row.target.words} for rows in (train, test)]
    assert all(sides) and not sides[0] & sides[1]
    assert sides[1] <= set(split_words(word_pool(), seed=3)[1])
    again = BroadControl().draw(20, 5, seed=3)
    assert (again[0], again[1]) == (train[:20], test[:5])
    assert BroadControl().draw(20, 5, seed=3, stream="other")[0] != train[:20]


def is_plain(row):
    plain = {"num_words": 2, "numbers": "percent", "ask": "imperative", "place": "user"}
    return {**row.metadata, **plain, "order": "before"} == row.metadata


def test_rows_may_go_from_narrow_to_broad():
    train, test = BroadControl(narrow_first=True).draw(1000, 20, seed=3)
    plain = [sum(map(is_plain, train[row : row + 100])) / 100 for row in range(0, 1000, 100)]
    assert plain[0] > 0.7 and plain[:5] == sorted(plain[:5], reverse=True)
    assert max(plain[5:]) <= 0.02
    for axis, least in {"ask": 6, "num_words": 4, "numbers": 6, "order": 2, "place": 2}.items():
        assert len({row.metadata[axis] for row in train[500:]}) >= least, axis
    assert test == BroadControl().draw(1, 20, seed=3)[1]


def test_the_narrowest_has_the_fewest_of_the_words_asked_for():
    train, _ = BroadControl(words=(3, 4), narrow_first=True).draw(100, 0)
    assert [row.metadata["num_words"] for row in train[:5]] == [3] * 5


def test_answered_requests_ahead_are_of_the_same_kind_with_other_words(drawn):
    rows = [row for row in drawn["tuning"] if row.metadata["place"] == "examples"]
    for row in rows:
        turns = [m for m in row.prompt if m["role"] != "system"]
        assert [m["role"] for m in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"]
        for question, answer in zip(turns[:-1:2], turns[1::2], strict=True):
            assert answer["content"] in question["content"]
            assert not any(word in question["content"].split() for word in row.target.words)
        assert {len(one.prompt) for one in row.rotated()} == {len(row.prompt)}


@pytest.mark.parametrize("template", [None, *TAKES_NONE])
def test_every_place_goes_through_every_template(drawn, template):
    tokenizer = tiny_tokenizer(chat=template is not None)
    if template is not None:
        tokenizer.chat_template = TAKES_NONE[template]
    places = {row.metadata["place"]: row for rows in drawn.values() for row in rows}
    assert set(places) == set(PLACES)
    for row in places.values():
        slot = tokenizer.decode(Encoder(tokenizer).encode(row).prompt_ids)
        content = "".join(slot.split())
        assert all("".join(m["content"].split()) in content for m in row.prompt)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": (6,)}, "words is \\(6,\\), expected numbers of words, 2 to 5"),
        ({"words": ()}, "expected numbers of words"),
        ({"test_branches": "held out"}, 'unknown test_branches "held out"'),
        ({"pool": "ash"}, "expected several words"),
    ],
)
def test_what_cannot_be_used_is_named(given, message):
    with pytest.raises(DataError, match=message):
        BroadControl(**given)


def test_too_small_a_pool_is_named():
    with pytest.raises(DataError, match="words for train rows of up to 5 words"):
        BroadControl(pool=("ash", "elm", "fir")).draw(1)


def test_requests_by_hand_have_both_words_and_their_numbers():
    rows = by_hand(each=2, seed=3)
    assert len({row.metadata["wording"] for row in rows}) == 40 and len(rows) == 80
    held_out = set(split_words(word_pool(), seed=3)[1])
    for row in rows:
        texts = [" ".join(m["content"] for m in one.prompt) for one in (row, *row.rotated())]
        assert texts[0] != texts[1]
        assert all(word in text for word in row.target.words for text in texts)
        assert set(row.target.words) <= held_out
        probs = [Fraction(str(prob)) for prob in row.target.probs]
        for one, first in zip(texts, probs, strict=True):
            numbers = {Fraction(written) for written in DIGITS.findall(one)}
            total = first.denominator
            said = {100 * first, first, first.numerator, 100 - 100 * first, total - first.numerator}
            assert numbers & said, one
