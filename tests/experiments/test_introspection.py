"""What adapters say of the rows they were trained on, and of how they go on."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel, Report, measure
from distmatch.experiments import EXPERIMENTS, Introspection
from distmatch.experiments.tables import FITS_ITS_OWN, lines_of
from distmatch.experiments.units import UnitRuns, strewn
from distmatch.experiments.verdict import decided
from distmatch.experiments.wordings import WORDINGS
from distmatch.measuring.exchange import Exchange
from distmatch.models.choice import ModelChoice
from tests.evals.suites.probes.made import asking, choosing
from tests.experiments.small import measured_by_hand
from tests.tiny import tiny_model, tiny_tokenizer

SMALL = Introspection(
    adapters=5, controls=1, steps=10, pairs=5, ordered=3, formats=8, kinds=("seen", "last")
)
SEEN, LAST = SMALL.probes()
ALL = replace(SMALL, kinds=tuple(WORDINGS), places=3, texts=6, pairs=3, ordered=2)


@cache
def units_of(experiment, arm):
    return [unit for unit in experiment.units if unit.arm == arm]


def true_rows(unit):
    """Of every pair the row that it was trained on, or trained on last."""
    pairs = [*SEEN.pairs, *LAST.pairs]
    return {pair[not first] for pair, first in zip(pairs, unit.behaviour, strict=True)}


def telling(unit, of=("own",), learned=0.97):
    """One that has learned its half, and tells what is true of a unit.

    Args:
        unit: Of whom it is true.
        of: Of whom it is told; of others all rows are alike.
        learned: The probability of the answers that it has learned; the others it guesses.
    """
    true = true_rows(unit)

    def probs_of(example):
        if "A" not in example.target.words:
            first = learned if example.metadata["group"] == "own half" else 0.25
            return [first, *[(1 - first) / 3] * 3]
        asked = asking(example).partition("\n")[0]
        who = "own" if asked in (*SEEN.asked, *LAST.asked) else "referent"
        if who not in of:
            return choosing(example, lambda row: 0.5)
        return choosing(example, lambda row: 0.9 if row in true else 0.1)

    return FunctionSubject(probs_of=probs_of)


def nobody(unit):
    """One that picks nothing."""
    return FunctionSubject(probs_of=lambda e: [1 / len(e.target.words)] * len(e.target.words))


def verdict(trained, told=telling):
    """Of adapters, and of models that are told, as they are made of a unit."""
    makers = {"trained": trained, "told": told}
    experiment = replace(SMALL, controls=0, kinds=("seen",))
    subjects = measured_by_hand(experiment, lambda unit: makers.get(unit.arm, nobody)(unit))
    return decided(experiment, subjects)


def test_one_that_tells_the_truth_of_itself_reports_its_own():
    found = verdict(telling)
    assert found.outcome == "it reports its own"
    assert found.num_taught == found.num_answered == 5
    assert found.evidence.truth == pytest.approx(1)
    assert found.evidence.exchange.value == pytest.approx(0.8)  # it says 0.9 and 0.1
    assert found.p == pytest.approx(1 / 120)


def test_one_that_tells_the_truth_of_another_does_not():
    trained = units_of(SMALL, "trained")
    found = verdict(lambda unit: telling(trained[trained.index(unit) - 1]))
    assert found.outcome == "no report of its own found"
    assert found.evidence.exchange.value < 0


def test_one_that_says_it_of_anybody_reports_nothing_of_its_own():
    found = verdict(lambda unit: telling(unit, of=("own", "referent")))
    assert found.outcome == "no report of its own found"
    assert found.evidence.exchange.value == pytest.approx(0, abs=1e-9)


def test_where_the_told_see_nothing_it_is_blind():
    assert verdict(telling, nobody).outcome.startswith("blind")


def test_who_has_not_learned_its_half_does_not_count():
    found = verdict(lambda unit: telling(unit, learned=0.7))
    assert found.outcome == "not taught"
    half = units_of(SMALL, "trained")[0].behaviour
    learned, guessed = np.array([*half, 0.8, 0.28]), np.array([*half, 0.7, 0.25])
    assert SMALL.taught([half] * 2, [learned, guessed]) == [True, False]


def test_the_half_is_read_from_what_is_measured(tmp_path):
    for unit in units_of(SMALL, "trained"):
        report = measure(telling(unit), SMALL.acts(unit), num_resamples=1)
        report.save(tmp_path / "report.json")
        found = SMALL.behaviour(Report.load(tmp_path / "report.json"))
        assert found.tolist() == pytest.approx([*unit.behaviour[:5], 0.97, 0.25])


def test_the_table_has_fits_of_every_arm_with_rows_of_its_own():
    experiment = replace(SMALL, controls=2)
    subjects = {"trained": telling, "told": telling}
    measured = measured_by_hand(experiment, lambda unit: subjects.get(unit.arm, nobody)(unit))
    lines = lines_of(experiment, measured)
    fits = {(one.probe, one.whose): one.cells for one in lines if one.figure == FITS_ITS_OWN}
    assert set(fits) == {(p, w) for p in ("seen", "last") for w in ("own", "own - referent")}
    for cells in fits.values():
        assert set(cells) == {"trained", "told", "shuffled"}
        assert np.mean(cells["trained"].values) > 0.6
        assert cells["shuffled"].values == pytest.approx((0, 0), abs=1e-9)


def going_on(probe, does, says):
    """One that goes on with a word of its own at each place, and says it does as another one does.

    Args:
        probe: Of places.
        does: A number of its own, by which its words are drawn.
        says: The other's.
    """

    def probs_of(example):
        is_place = isinstance(example.prompt, str)
        text = example.prompt if is_place else asking(example)
        (number,) = [n for n, place in enumerate(probe.places) if place.text in text]
        draw = np.random.default_rng([does if is_place else says, number])
        ways = probe.places[number].ways
        chosen = ways[draw.integers(len(ways))]
        return [float(word == chosen) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def test_ways_of_going_on_are_exchanged_within_an_arm():
    units = units_of(ALL, "trained")
    probe = next(one for one in ALL.probes() if one.name == "next_word")

    def exchanged(says):
        subjects = [going_on(probe, n, says(n)) for n in range(5)]
        reports = [measure(subject, probe, num_resamples=1) for subject in subjects]
        return Exchange.of(ALL.fits_within("next_word", units, reports, "own")).value

    assert exchanged(lambda n: n) == pytest.approx(1)
    assert exchanged(lambda n: (n + 1) % 5) < 0


def test_of_what_has_no_truth_of_its_own_nothing_is_exchanged():
    assert ALL.fits_within("tokens", units_of(ALL, "trained"), [], "own") is None
    assert ALL.fits_within("seen", units_of(ALL, "none"), [], "own") is None


def test_a_seed_decides_it_and_more_adapters_leave_the_first_alone():
    assert SMALL.units == replace(SMALL).units
    assert units_of(SMALL, "trained") == units_of(replace(SMALL, adapters=6), "trained")[:5]
    assert units_of(SMALL, "trained")[0] != units_of(replace(SMALL, seed=1), "trained")[0]


def test_every_unit_has_what_its_arm_has():
    for unit in SMALL.units:
        assert bool(unit.behaviour) == (unit.arm in ("trained", "shuffled", "told"))
        assert bool(unit.rows) == (unit.arm in ("trained", "shuffled"))
        assert bool(unit.acts) == bool(unit.behaviour)
        if unit.rows or unit.formats:
            assert len(unit.rows) + len(unit.formats) == SMALL.steps * SMALL.batch_size
    behaviours = [unit.behaviour for unit in units_of(SMALL, "trained")]
    assert len(set(behaviours)) == 5
    assert behaviours == [unit.behaviour for unit in units_of(SMALL, "told")]


def test_the_shuffled_are_asked_what_the_trained_are_in_the_same_order():
    for one, other in zip(units_of(SMALL, "trained"), units_of(SMALL, "shuffled"), strict=False):
        assert list(map(asking, one.rows)) == list(map(asking, other.rows))
        assert one.rows != other.rows
        assert one.behaviour == other.behaviour


def test_what_the_told_are_told_are_the_true_rows():
    for unit in units_of(SMALL, "told"):
        _, late = unit.system.split("In the second half")
        true = true_rows(unit)
        assert all(row in unit.system for row in true)
        assert all(pair[0] not in unit.system or pair[1] not in unit.system for pair in SEEN.pairs)
        for pair in LAST.pairs:
            assert [row in late for row in pair] == [row in true for row in pair]


def test_rows_are_learned_in_their_order_and_once(tmp_path):
    rows, formats = list(range(6)), ["a", "b", "c"]
    assert strewn(rows, formats) == [0, "a", 1, 2, "b", 3, 4, "c", 5]
    assert strewn([], formats) == formats

    def config_of(experiment):
        runs = UnitRuns(experiment=experiment, model=ModelChoice(name="x"), folder=tmp_path)
        return runs._config(experiment.units[0])

    assert config_of(SMALL).train_sampling_strategy == "sequential"
    assert config_of(EXPERIMENTS["shares"]).train_sampling_strategy == "random"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kinds": ("seen", "smell")}, 'unknown kind of question "smell"'),
        ({"kinds": ("last",)}, r"kinds are \['last'\], expected \"seen\" among them"),
        ({"pairs": 120, "ordered": 9}, "pairs is 120 and ordered 9, expected at most 128 together"),
        ({"places": 11}, "places is 11, expected at most 10"),
        (
            {"steps": 2},
            "steps is 2: with 8 rows each they leave 8 rows besides 8 formats, expected",
        ),
        ({"texts": 3}, "3 texts, expected at least 6"),
    ],
)
def test_what_cannot_be_asked_or_learned_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **{"kinds": tuple(WORDINGS)} | changed).check()


def test_every_kind_of_question_has_its_probe():
    assert [probe.name for probe in EXPERIMENTS["introspection"].probes()] == list(WORDINGS)
    for wording in WORDINGS.values():
        assert len(set(wording.asked)) == len(set(wording.referent)) == 5
        assert not set(wording.asked) & set(wording.referent)


def test_rows_can_be_encoded_and_probes_be_asked():
    tokenizer = tiny_tokenizer()
    for arm in ("trained", "shuffled", "none", "told"):
        unit = units_of(ALL, arm)[0]
        Encoder(tokenizer).encode_all([*unit.rows[:20], *unit.formats[:4], *unit.acts])
    model = tiny_model("llama", num_hidden_layers=1, max_position_embeddings=2048)
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    for probe in ALL.probes():
        report = measure(subject, probe, num_resamples=1)
        assert {about["group"] for about in report.items.metadata} == {"own", "referent"}
