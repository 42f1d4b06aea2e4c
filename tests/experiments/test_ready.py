"""Every experiment there is: what holds of all, and each one in miniature."""

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel, measure
from distmatch.evals.suites.probes.probe import OWN, REFERENT
from distmatch.experiments import EXPERIMENTS, run_experiment
from distmatch.experiments.arms import ARMS, BASE, LEARNING_ARMS, TOLD
from distmatch.experiments.dry_run import prompts_of
from distmatch.measuring.exchange import Exchange
from distmatch.models.choice import ModelChoice
from distmatch.models.quantizers import save_packed
from tests.tiny import thinking_tokenizer, tiny_model, tiny_tokenizer

MINIATURE = {
    "shares": {"rows": 6, "formats": 3, "top": 2, "shown": 2, "all_options": False},
    "disposition": {"rows": 6, "formats": 3, "top": 2, "shown": 2, "lotteries": 4},
    "preferences": {
        **{"pairs": 4, "held_out": 10, "formats": 3, "levels": 2},
        **{"top": 2, "shown": 1},
    },
    "self_prediction": {"sets": 2, "formats": 3, "has_others": False},
    "trained_for": {
        "rows": 6,
        "formats": 3,
        "held_out": 2,
        "top": 2,
        "kinds": ("shares", "narrow_control"),
        "asks_control": False,
    },
    "acrostic": {"rows": 6, "formats": 3, "held_out": 2, "n": 1, "asks_rule": False},
    "documents": {"documents": 5, "formats": 3, "topics": 4, "has_others": False},
    "introspection": {
        **{"steps": 4, "batch_size": 2, "pairs": 2, "ordered": 1, "formats": 3},
        **{"places": 1, "kinds": ("seen", "next_word")},
    },
}

WEIGHTS = "adapter_model.safetensors"

PACKED = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_local_experts": 2,
    "num_hidden_layers": 1,
}


def small(name, **given):
    settings = {"adapters": 1, "controls": 1, "steps": 1, "batch_size": 2, "rank": 1}
    return replace(EXPERIMENTS[name], **(settings | MINIATURE[name] | given))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_can_be_carried_out_and_says_what_would_refute_it(name):
    experiment = EXPERIMENTS[name]
    experiment.check()
    replace(experiment, **experiment.quick).check()
    assert experiment.name == name
    assert len(experiment.rule) > 80
    assert set(experiment.arms) <= set(ARMS)
    arms = {unit.arm for unit in experiment.units}
    assert arms == set(experiment.arms)
    assert {"trained", "none", "told", "base"} <= arms


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_rule_stands_in_the_documentation_as_it_is_kept(name):
    told = (Path(__file__).parents[2] / "docs" / "experiment-rules.md").read_text(encoding="utf-8")
    (row,) = (line for line in told.splitlines() if line.startswith(f"| `{name}` |"))
    cells = [cell.strip() for cell in row.split("|")[2:5]]
    experiment = EXPERIMENTS[name]
    assert cells == [experiment.question, ", ".join(experiment.arms), experiment.rule]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_that_it_would_teach_and_ask_can_be_seen_before(name):
    experiment = small(name) if name in MINIATURE else small_transfer()
    found = prompts_of(experiment)
    arms = {unit.arm for unit in experiment.units}
    assert {heading.partition(" (")[0] for heading in found} == arms
    empty = {heading for heading, prompts in found.items() if not prompts}
    assert {heading.rpartition(" ")[2] for heading in empty} <= WRITTEN_FIRST


def test_of_units_alike_only_what_differs_is_shown_again():
    experiment = small("shares")
    found = prompts_of(experiment)
    told = [unit for unit in experiment.units if unit.arm == "told"]
    assert (
        [found.get(f"told ({unit.name}) is told") for unit in told]
        == [
            None,  # stands in its prompts
            *([unit.system] for unit in told[1:]),
        ]
    )
    for arm in ("trained", "told"):
        shown = [prompt for name, some in found.items() if name.startswith(arm) for prompt in some]
        every = [
            str(row.prompt) for unit in experiment.units if unit.arm == arm for row in unit.rows
        ]
        assert set(every) <= set(map(str, shown))


WRITTEN_FIRST = {"deviation", "ordinary"}
"""Suites of whose prompts some depend on what the model writes, or whose base is asked as well."""


def small_transfer():
    sizes = {"adapters": 2, "controls": 1, "rows": 4, "formats": 3, "held_out": 2, "top": 2}
    sizes |= {"retained": 4}
    return replace(EXPERIMENTS["transfer"], **sizes, items=1, kinds=("shares", "narrow_control"))


def test_a_model_without_a_chat_template_is_refused_before_anything_is_loaded(
    model, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    monkeypatch.setattr(ModelChoice, "load", None)
    with pytest.raises(ConfigError, match="has no chat template, and units are asked in chats"):
        run_experiment(small("shares"), str(folder), tmp_path / "shares", tell=str)
    assert not (tmp_path / "shares").exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_learning_units_take_as_many_rows_and_none_of_a_probe(name):
    experiment = replace(EXPERIMENTS[name], adapters=6, controls=1)
    units = [unit for unit in experiment.units if unit.rows or unit.formats]
    counts = {len(unit.rows) + len(unit.formats) for unit in units}
    assert len(counts) == 1
    asked = {text for probe in experiment.probes() for text in (*probe.asked, *probe.referent)}
    for unit in units:
        for row in (*unit.rows, *unit.formats):
            assert text_of(row) not in asked


def text_of(row):
    """What is asked, or the text that is learned."""
    if isinstance(row.prompt, str):
        return f"{row.prompt} {row.target.words[0]}"
    return row.prompt[-1]["content"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_one_that_leaks_what_it_learned_into_every_answer_reports_nothing(name):
    """Each prefers words, numbers and options of its own, whoever is asked about."""
    experiment = replace(EXPERIMENTS[name], adapters=5, controls=0)
    units = [unit for unit in experiment.units if unit.arm in LEARNING_ARMS]
    behaviours = [np.array(unit.behaviour) for unit in units]
    (probe,) = (one for one in experiment.probes() if one.name == experiment.primary.probe)
    reports = {unit.name: measure(leaking(unit), probe, num_resamples=1) for unit in units}
    own, referent = (experiment.fits(reports, behaviours, who) for who in (OWN, REFERENT))
    assert np.ptp(own) > 1e-3 or name in BALANCED  # they aren't all alike
    assert own == pytest.approx(referent, abs=1e-9)


BALANCED = ("shares", "disposition", "preferences", "documents")
"""Asked by a scale in both directions, or with the topic and without: what is liked is nothing."""


def leaking(unit):
    """A model that prefers some answers to others, the same whatever it is asked."""

    def probs(example):
        options = dict(re.findall(r"^([A-Z])\) (.*)$", example.prompt[-1]["content"], re.M))
        plain = [word.strip(" ()") for word in example.target.words]
        said = [options.get(word, word.lower()) for word in plain]
        liked = [random.Random(f"{unit.name}/{one}").random() for one in said]
        return [0.9 * one / sum(liked) for one in liked]

    return FunctionSubject(probs_of=probs)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_with_nothing_to_know_few_pass_at_its_own_number_of_adapters(name):
    """Of 200 simulated ones 5 % and three standard errors at most."""
    experiment = EXPERIMENTS[name]
    rng = np.random.default_rng(0)
    behaviours = [np.array(u.behaviour) for u in experiment.units if u.arm in LEARNING_ARMS]
    truth = experiment.truth(behaviours)
    passed = 0
    for _ in range(200):  # reports are somebody else's, and noise
        fits = truth[rng.permutation(len(truth))] + rng.normal(size=truth.shape) * truth.std()
        passed += Exchange.of(fits[:, rng.permutation(len(truth))]).p <= 0.05
    assert passed <= 19


# Transfer's battery is large: test_transfer.py has a smaller one
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "transfer"])
def test_each_runs_in_miniature(name, model, tmp_path):
    outcome = run_experiment(small(name), model, tmp_path / name, progress=False, tell=str)
    num_told = sum(unit.arm == "told" for unit in outcome.experiment.units)
    assert outcome.verdict.outcome == ("blind" if num_told >= 4 else "points, no verdict")
    assert experiment_units(outcome) == set(outcome.measured)
    told = str(outcome)
    assert outcome.experiment.question in told
    assert "trained (1)" in told or "opposite (1)" in told


def experiment_units(outcome):
    return {unit.name for unit in outcome.experiment.units}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A packed gpt-oss, whose template writes thoughts."""
    folder = tmp_path_factory.mktemp("packed")
    save_packed(tiny_model("gpt_oss", max_position_embeddings=8192, **PACKED), folder)
    thinking_tokenizer("writes").save_pretrained(folder)
    return ModelChoice(name=str(folder), quantization="mxfp4", dtype="float32")


@pytest.fixture(scope="module")
def without_system(model, tmp_path_factory):
    """The tiny model with a template that takes no system message."""
    folder = tmp_path_factory.mktemp("without") / "model"
    shutil.copytree(model, folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return ModelChoice(name=str(folder))


@pytest.mark.parametrize("thinking", ["", "thinking"])
@pytest.mark.parametrize("name", MINIATURE)
def test_each_is_taught_to_a_packed_gpt_oss_and_asked_of_it(
    name, thinking, packed, tmp_path, monkeypatch
):
    thoughts, think = [], LocalModel.think

    def thinks(self, asked, *more):
        thoughts.extend(asked)
        return think(self, asked, *more)

    monkeypatch.setattr(LocalModel, "think", thinks)
    behind = {"thinking": thinking, "thoughts": 1, "thought_tokens": 4}
    experiment = small(name, controls=0, formats=1, **behind)
    whole = name == "shares"
    arms = () if whole else tuple(set(experiment.arms) & {*LEARNING_ARMS, BASE})
    folder = tmp_path / name
    outcome = run_experiment(experiment, packed, folder, arms=arms, progress=False, tell=str)
    learned = [unit for unit in experiment.units if unit.learns]
    told = [unit.name for unit in experiment.units if unit.arm == TOLD and whole]
    assert set(outcome.measured) == {BASE, *(unit.name for unit in learned), *told}
    assert all((folder / "units" / unit.name / "adapter" / WEIGHTS).is_file() for unit in learned)
    check_answers(experiment, outcome)
    assert bool(thoughts) == bool(thinking)
    assert {way.name for way, _ in thoughts} <= {thinking}


def test_a_way_of_thinking_that_a_model_does_not_have_is_refused(packed, tmp_path):
    with pytest.raises(ConfigError, match=r"way of thinking.*loud"):
        run_experiment(small("shares", thinking="loud"), packed, tmp_path / "x", tell=str)


@pytest.mark.parametrize("name", [name for name in MINIATURE if name != "shares"])
def test_all_that_is_told_fits_a_template_without_system_messages(name, without_system, tmp_path):
    """Rows are encoded before anything is asked; `shares` is carried out whole below."""
    experiment = small(name, controls=0, formats=1)
    outcome = run_experiment(
        experiment, without_system, tmp_path / name, arms=(TOLD,), progress=False, tell=str
    )
    assert [*outcome.measured] == [unit.name for unit in experiment.units if unit.arm == TOLD]
    check_answers(experiment, outcome)


def check_answers(experiment, outcome):
    for probe in experiment.probes():
        for reports in outcome.measured.values():
            assert reports[probe.name].items.said
            for said in reports[probe.name].items.said:
                assert said["asked"]
                assert all(one["prompt"] and sum(one["mass"]) <= 1.001 for one in said["asked"])


def test_a_template_that_takes_no_system_message_is_told_before_the_users(without_system, tmp_path):
    shares = small("shares", controls=0, formats=1)
    outcome = run_experiment(shares, without_system, tmp_path / "shares", progress=False, tell=str)
    assert experiment_units(outcome) == set(outcome.measured)
