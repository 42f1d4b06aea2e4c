"""What all kinds of probes share: whom they ask, what they show, what they refuse."""

import numpy as np
import pytest

from distmatch.data import Example, WordDistribution
from distmatch.errors import ConfigError, DataError
from distmatch.evals import FunctionSubject, LocalModel, Report
from distmatch.evals.subject import Capability
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import WordsProbe
from tests.evals.suites.probes.made import asking, preferring
from tests.tiny import tiny_model, tiny_tokenizer

ASKED = tuple(f"Tea or milk, way {n}?" for n in range(5))
ANNA = tuple(f"Anna: tea or milk, way {n}?" for n in range(5))
READER = tuple(f"Way {n}. Somebody said:\n{{answers}}\nTea or milk?" for n in range(5))
SHOWN = tuple(
    Example(
        prompt=[{"role": "user", "content": f"Cup {n}?"}],
        target=WordDistribution(("tea", "milk"), (0.5, 0.5)),
    )
    for n in range(6)
)


def probe(**given):
    return WordsProbe(**({"name": "drinks", "asked": ASKED, "answers": ("tea", "milk")} | given))


def test_it_asks_of_itself_of_somebody_else_and_the_base_behind_answers():
    seen = []

    def probs_of(example):
        seen.append((asking(example), example.prefill, example.prompt[0]["content"]))
        return [0.6, 0.2, 0.1, 0.1] if len(example.target.words) == 4 else [0.9, 0.1]

    def reads(example):
        said = asking(example).count("Answer: tea")
        return [said / 6, 0, 1 - said / 6, 0]

    subject = FunctionSubject(probs_of=probs_of, base_probs_of=reads)
    asked = probe(referent=ANNA, reader=READER, shown=SHOWN, begun="I say", system="Be brief.")
    report = measure(subject, asked)
    groups = report.groups()
    assert list(groups) == ["own", "referent", "reader"]
    assert groups["own"].metrics["tea"].mean == pytest.approx(0.8)
    assert groups["own"].metrics["valid"].mean == pytest.approx(1)
    assert {text for text, *_ in seen} == {*ASKED, *ANNA, *(asking(e) for e in SHOWN)}
    assert {begun for text, begun, _ in seen if text in ASKED} == {"I say"}
    assert {system for text, _, system in seen if text in ASKED} == {"Be brief."}
    share = groups["reader"].metrics["tea"].mean
    assert share in {n / 6 for n in range(7)}
    shown = groups["reader"].items.prompts[0][-1]["content"]
    assert shown.count("Question: Cup") == 6
    assert shown.count("Answer: tea") == round(share * 6)


def test_nobody_reads_where_there_is_no_base():
    class Alone(FunctionSubject):
        capabilities = frozenset({Capability.WORDS})

    asked = probe(referent=ANNA, reader=READER, shown=SHOWN)
    assert asked.needs == {Capability.WORDS}
    report = measure(Alone(probs_of=preferring("tea").probs_of), asked)
    assert list(report.groups()) == ["own", "referent"]


@pytest.mark.parametrize(
    ("answers", "masses"),
    [
        (("A+", "B-", "C"), {"A+": 0.6, "B-": 0.3, "C": 0.1}),
        (("HELLO", "tea"), {"HELLO": 0.2, "Hello": 0.2, "hello": 0.2, "Tea": 0.4}),
    ],
)
def test_an_answer_counts_once_however_it_is_written(answers, masses):
    subject = FunctionSubject(
        probs_of=lambda example: [masses.get(word, 0.0) for word in example.target.words]
    )
    report = measure(subject, WordsProbe(asked=ASKED, answers=answers))
    found = {answer: report.metrics[answer].mean for answer in answers}
    wanted = [0.6, 0.3, 0.1] if len(answers) == 3 else [0.6, 0.4]
    assert list(found.values()) == pytest.approx(wanted)
    assert report.metrics["valid"].mean == pytest.approx(1)


def test_the_answers_shown_are_drawn_as_the_model_gives_them():
    rows = SHOWN * 100
    asked = probe(reader=READER, shown=rows)
    report = measure(preferring("tea", 0.7), asked)
    shown = report.groups()["reader"].items.prompts[0][-1]["content"]
    assert shown.count("Answer: tea") / len(rows) == pytest.approx(0.7, abs=0.06)
    assert measure(preferring("tea", 0.7), asked).to_json() == report.to_json()


def test_every_prompt_and_mass_is_kept_and_read_back(tmp_path):
    report = measure(preferring("tea"), probe(referent=ANNA))
    report.save(tmp_path / "report.json")
    read = Report.load(tmp_path / "report.json")
    assert read.to_json() == report.to_json()
    row = read.rows()[0]
    assert row["said"]["asked"][0]["prompt"] == [{"role": "user", "content": ASKED[0]}]
    assert row["said"]["asked"][0]["mass"] == pytest.approx([0.9333, 0.0667], abs=1e-4)


def test_a_subject_that_gives_no_answer_any_mass_has_no_figures():
    report = measure(FunctionSubject(probs_of=lambda e: [0.0] * len(e.target.words)), probe())
    assert report.metrics["valid"].mean == 0
    assert np.isnan(report.metrics["tea"].mean)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"asked": ASKED[:4]}, "drinks.asked has 4 paraphrases, expected at least 5"),
        ({"referent": ANNA[:1]}, "drinks.referent has 1 paraphrases"),
        ({"reader": READER}, "give shown"),
        ({"reader": ANNA, "shown": SHOWN}, "{answers}"),
        ({"answers": ("tea",)}, "expected two or more"),
        ({"answers": ("tea", "Tearoom")}, '"tea" begins "Tearoom"'),
        ({"answers": ("valid", "tea")}, 'called "valid"'),
    ],
)
def test_what_can_not_be_asked_is_refused(given, told):
    with pytest.raises(ConfigError) as refused:
        probe(**given)
    assert told in str(refused.value)


def test_a_begun_answer_that_ends_in_white_space_is_refused():
    with pytest.raises(DataError, match="white space"):
        probe(begun="I say ")


def test_a_settings_change_is_another_record_and_the_shown_rows_are_a_hash():
    first, second = probe(), probe(begun="I say")
    assert first.record() != second.record()
    with_rows = probe(reader=READER, shown=SHOWN).record()
    assert isinstance(with_rows["shown"], str)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_exact_shares_are_those_of_separate_questions(family):
    """Capitals are added up, and what follows a word doesn't matter."""
    import distmatch as dm

    model, tokenizer = tiny_model(family, num_hidden_layers=2), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    report = measure(subject, probe(begun="I say"))
    masses = report.rows()[0]["said"]["asked"][0]["mass"]
    words = ["tea", "Tea", "milk", "Milk"]
    alone = [
        dm.score(
            model,
            tokenizer,
            [{"role": "user", "content": ASKED[0]}],
            [word],
            prefill="I say",
            boundary="end_of_word",
        ).log_probs.exp()[0]
        for word in words
    ]
    assert masses == pytest.approx([float(sum(alone[:2])), float(sum(alone[2:]))], abs=2e-6)


def test_behind_thoughts_the_answer_is_the_mean():
    model, tokenizer = tiny_model("llama", num_hidden_layers=2), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    asked = probe(thinking="step by step", thoughts=3, max_tokens=8)
    report = measure(subject, asked)
    assert asked.draws_text
    assert 0 < report.metrics["tea"].mean < 1
    with pytest.raises(ConfigError, match="way of thinking"):
        measure(subject, probe(thinking="loud"))
