"""An endpoint against the local truth: the same weights behind a server, and here."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from distmatch.data import Example, WordDistribution
from distmatch.data.tasks.suppression import INSTRUCTIONS
from distmatch.errors import BudgetError, ConfigError, DataError, EndpointError
from distmatch.evals import SUITES, Endpoint, Limits, LocalModel, Report, evaluate, measure
from distmatch.evals.suites import Choices, Given, Numbers, Sad, Suppression
from distmatch.evals.suites.probes import WordsProbe
from distmatch.evals.suites.sad import without_text
from distmatch.measuring.metrics import METRICS
from distmatch.scoring import model_encoder, score
from tests.evals.backends.serving import serving
from tests.evals.backends.teaching import CHATS, ONE, TEXTS, measured
from tests.tiny import VOCAB_SIZE

QUICK = Limits(retries=0, timeout=30)


def truth(model, tokenizer, example):
    asked = score(
        *(model, tokenizer, example.prompt, example.target.words), boundary=example.boundary
    )
    return np.array([*asked.log_probs.exp().tolist(), asked.log_other.exp().item()])


def bounds(row):
    return (
        np.array([*row["said"]["low"], row["said"]["low_other"]]),
        np.array([*row["said"]["high"], row["said"]["high_other"]]),
        np.array([*row["given"], row["given_other"]]),
    )


# Next tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "examples", "which"),
    [("chat", (CHATS[0], CHATS[2]), 0), ("completions", TEXTS[:2], 1)],
)
def test_with_all_next_tokens_an_endpoint_says_the_truth(taught, server, api, examples, which):
    endpoint = Endpoint(
        model="tiny",
        url=server.url,
        api=api,
        top_k=VOCAB_SIZE,
        continues=api == "chat",
        limits=QUICK,
    )
    report = measured(endpoint, examples)
    for row, example in zip(report.rows(), examples, strict=True):
        low, high, given = bounds(row)
        expected = truth(taught[0], taught[1][which], example)
        assert expected[:-1].max() > 0.2  # it has learnt something, so this is no agreement on 0
        assert given == pytest.approx(expected, abs=1e-4)
        assert (low <= expected + 1e-4).all() and (expected <= high + 1e-4).all()
        assert (high - low).max() < 1e-3
    local = evaluate(taught[0], taught[1][which], examples, num_resamples=10, progress=False)
    for name in METRICS:
        assert report.metrics[name].mean == pytest.approx(
            local.metrics[name].mean, abs=2e-3, nan_ok=True
        )


def test_a_word_whose_characters_are_cut_is_bounded(taught, server):
    endpoint = Endpoint(model="tiny", url=server.url, api="completions", top_k=VOCAB_SIZE)
    (row,) = measured(endpoint, TEXTS[2:]).rows()
    low, high, _ = bounds(row)
    expected = truth(taught[0], taught[1][1], TEXTS[2])
    assert low[0] == pytest.approx(expected[0], abs=1e-4)
    assert low[1] < 1e-4 and high[1] == pytest.approx(expected[1], abs=5e-3)
    assert (expected <= high + 1e-4).all()


@pytest.mark.parametrize("top_k", [1, 5, 20])
@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("shows_end", [True, False])
def test_with_few_next_tokens_the_truth_is_between_the_bounds(
    taught, server, top_k, continues, shows_end
):
    server.shows_end = shows_end
    endpoint = Endpoint(
        model="tiny", url=server.url, top_k=top_k, continues=continues, limits=QUICK
    )
    examples = CHATS if continues else (CHATS[0], CHATS[2])  # the other one is begun
    report = measured(endpoint, examples)
    for row, example in zip(report.rows(), examples, strict=True):
        low, high, given = bounds(row)
        expected = truth(taught[0], taught[1][0], example)
        assert (low <= expected + 1e-4).all() and (expected <= high + 1e-4).all()
        assert (low <= given + 1e-6).all() and (given <= high + 1e-6).all()
        assert given.sum() == pytest.approx(1, abs=1e-5)
        target = np.array([*example.target.probs, example.target.other_prob])
        tvd = 0.5 * np.abs(expected - target).sum()
        assert row["tvd_low"] - 2e-4 <= tvd <= row["tvd_high"] + 2e-4
        assert row["tvd_low"] - 1e-6 <= row["tvd"] <= row["tvd_high"] + 1e-6
        assert row["said"]["unmeasured"]


def test_a_chat_that_shows_no_end_is_bounded_by_how_often_it_ended(taught, server):
    server.shows_end = False
    endpoint = Endpoint(model="tiny", url=server.url, samples=100, limits=QUICK)
    (row,) = measured(endpoint, CHATS[2:]).rows()  # at the end of the turn
    low, high, _ = bounds(row)
    expected = truth(taught[0], taught[1][0], CHATS[2])
    assert (low <= expected + 1e-4).all() and (expected <= high + 1e-4).all()
    assert (high - low).max() < 0.2 and low[1] > 0.3
    assert len(server.asked) == 1


# Whole answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_choices", [1000, 70])
def test_without_log_probabilities_answers_are_counted(taught, server, most_choices):
    server.gives_logprobs, server.most_choices = False, most_choices
    endpoint = Endpoint(model="tiny", url=server.url, top_k=0, samples=400, limits=QUICK)
    examples = (CHATS[0], CHATS[2])
    for row, example in zip(measured(endpoint, examples).rows(), examples, strict=True):
        low, high, given = bounds(row)
        expected = truth(taught[0], taught[1][0], example)
        assert (low <= expected + 0.02).all() and (expected <= high + 0.02).all()
        assert given == pytest.approx(expected, abs=0.08)
        assert math.isclose(given.sum(), 1, abs_tol=1e-6)
    assert len(server.asked) == 2 * {1000: 4, 70: 6}[most_choices]
    assert all("logprobs" not in body for body in server.asked)


def test_a_reply_without_log_probabilities_is_refused_and_not_kept(server, tmp_path):
    server.gives_logprobs = False
    endpoint = Endpoint(
        model="tiny", url=server.url, limits=QUICK, cache=tmp_path / "replies.jsonl"
    )
    with pytest.raises(EndpointError, match=r'no log-probabilities for "tiny": count answers'):
        measured(endpoint, CHATS[:1])
    assert not (tmp_path / "replies.jsonl").exists()


# Reports ------------------------------------------------------------------------------------------


def test_rotations_are_asked_too(taught, server):
    prompts = tuple(
        ({"role": "user", "content": text},) for text in ("red 7 blue 3", "red 3 blue 7")
    )
    rotated = Example(
        prompt=prompts[0],
        target=WordDistribution(("red", "blue"), (0.7, 0.3)),
        rotations=prompts[1:],
        boundary="end_of_word",
    )
    endpoint = Endpoint(
        model="tiny", url=server.url, continues=True, top_k=VOCAB_SIZE, limits=QUICK
    )
    report = measured(endpoint, [rotated])
    local = evaluate(taught[0], taught[1][0], [rotated], num_resamples=10, progress=False)
    assert report.metrics["swap_gap"].mean == pytest.approx(
        local.metrics["swap_gap"].mean, abs=0.01
    )


def test_a_report_with_bounds_is_read_back_as_it_was(server, tmp_path):
    report = measured(Endpoint(model="tiny", url=server.url), CHATS[:1])
    assert list(report.metrics)[:3] == ["tvd", "tvd_low", "tvd_high"]
    report.save(tmp_path / "report.json")
    read = Report.load(tmp_path / "report.json")
    assert read.to_json() == report.to_json()
    assert "the least that bounds on the answers allow" in report.table()


def test_free_targets_are_bounded_over_the_words(taught, server):
    free = Example(
        prompt=ONE,
        target=WordDistribution(("red", "blue"), (0.5, 0.5), "free"),
        boundary="end_of_word",
    )
    endpoint = Endpoint(model="tiny", url=server.url, continues=True, top_k=5, limits=QUICK)
    (row,) = measured(endpoint, [free]).rows()
    words = truth(taught[0], taught[1][0], free)[:-1]
    tvd = abs(words[0] / words.sum() - 0.5)
    assert row["tvd_low"] - 1e-4 <= tvd <= row["tvd_high"] + 1e-4


# Suites -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Few(Suppression):
    """The suite, with its first question alone."""

    def examples(self, seed=0):
        return super().examples(seed)[: len(INSTRUCTIONS) + 1]


@pytest.mark.parametrize("suite", [Given(per_group=1), Numbers(per_kind=1), Few()])
def test_suites_ask_endpoints(server, suite):
    endpoint = Endpoint(model="tiny", url=server.url, continues=True, top_k=2)
    report = measure(endpoint, suite, num_resamples=10)
    assert list(report.metrics) == [m.name for m in suite.metrics if m.name in report.metrics]
    assert next(iter(report.metrics)) == suite.metrics[0].name
    assert all("unmeasured" in row["said"] for row in report.rows())


def test_sad_asks_endpoints_that_continue(taught, server, tmp_path):
    record = {"messages": [dict(m) for m in CHATS[1].prompt], "p": 70, "q": 30, "r": 20}
    lines = [json.dumps(record | {"ideal": ["red", "green"]}), json.dumps(record)]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))
    suite = Sad(path=tmp_path / "samples.jsonl")
    endpoint = Endpoint(model="tiny", url=server.url, continues=True, top_k=VOCAB_SIZE)
    rows = measure(endpoint, suite, num_resamples=10).rows()
    local = measure(local_model(taught), suite, num_resamples=10).rows()
    for row, here in zip(rows, local, strict=True):
        assert row["reference"] == here["reference"]
    target = WordDistribution(("red", "green"), (0.7, 0.3))
    example = replace(CHATS[1], target=target, forms=("space", "capital"))
    (given,) = measured(endpoint, [example]).rows()
    assert rows[0]["tvd"] == given["tvd"]
    assert given["tvd_low"] - 1e-3 <= local[0]["tvd"] <= given["tvd_high"] + 1e-3
    assert rows[0]["said"] == without_text(given["said"])
    assert (rows[0]["tvd_low"], rows[0]["tvd_high"]) == (given["tvd_low"], given["tvd_high"])
    assert (rows[1]["tvd_low"], rows[1]["said"]) == (None, {})
    with pytest.raises(ConfigError, match="give continues=True if it does"):
        measure(Endpoint(model="tiny", url=server.url), suite)
    few = Endpoint(model="tiny", url=server.url, continues=True, top_k=4)
    with pytest.raises(ConfigError, match="likeliest 5 next tokens are asked for, and top_k is 4"):
        measure(few, suite)


def test_choices_ask_endpoints(taught, server, tmp_path):
    asked = [[dict(m) for m in chat.prompt] for chat in CHATS[:2]]
    lines = [
        json.dumps({"messages": m, "choices": ["red", "green"], "answer": "red"}) for m in asked
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    suite = Choices(path=tmp_path / "questions.jsonl")
    endpoint = Endpoint(model="tiny", url=server.url, continues=True, top_k=VOCAB_SIZE)
    rows = measure(endpoint, suite, num_resamples=10).rows()
    local = measure(local_model(taught), suite, num_resamples=10).rows()
    for name in ("correct", "chance", "correct_prob", "correct_share", "other"):
        assert rows[0][name] == pytest.approx(local[0][name], abs=1e-3)
    # A chat can't be asked after the space that " green" is cut behind, so the second is open
    assert [(row["correct_low"], row["correct_high"]) for row in rows] == [(1, 1), (0, 1)]
    assert local[1]["correct"] == 0
    for row, here in zip(rows, local, strict=True):
        assert row["said"]["low"][0] - 1e-4 <= here["correct_prob"] <= row["said"]["high"][0] + 1e-4


def local_model(taught):
    model, (tokenizer, _) = taught
    return LocalModel(model=model, tokenizer=tokenizer, progress=False)


@pytest.mark.parametrize(
    ("name", "settings", "lacking"),
    [
        ("deviation", {}, "being asked without its adapter"),
        ("deviation", {"top_k": 0}, "the likeliest next tokens and being asked without"),
        ("ordinary", {}, "whole distributions of next tokens and being asked without its adapter"),
        ("not_given", {}, "whole distributions of next tokens"),
        ("thinking", {}, "going on behind a thought"),
        ("sad", {"top_k": 0}, "the likeliest next tokens"),
    ],
)
def test_suites_that_cannot_be_asked_are_refused_by_what_is_lacking(
    server, name, settings, lacking
):
    endpoint = Endpoint(model="tiny", url=server.url, **settings)
    with pytest.raises(ConfigError, match=f"{name} can't be asked here: it needs {lacking}"):
        measure(endpoint, SUITES[name])
    assert server.asked == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api": "responses"}, 'api is "responses", expected "chat" or "completions"'),
        ({"top_k": -1}, "top_k is -1 and samples 32"),
        ({"samples": 0}, "samples 0, expected at least 0 and 1"),
        ({"extra": {"seed": 0}}, "extra has the seed 0, which would draw the same answers"),
        ({"api": "completions", "continues": True}, "continues is about chats"),
    ],
)
def test_settings_that_ask_for_nothing_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Endpoint(model="tiny", **settings)


def test_examples_that_cannot_be_asked_are_named_before_anything_is(server):
    endpoint = Endpoint(model="tiny", url=server.url)
    with pytest.raises(DataError, match=r"row 1: the prompt is plain text"):
        measured(endpoint, [CHATS[0], TEXTS[0]])
    with pytest.raises(DataError, match="no examples"):
        measured(endpoint, [])
    assert server.asked == []


# Limits -------------------------------------------------------------------------------------------


def test_a_limit_keeps_what_was_answered_and_the_next_run_goes_on(server, tmp_path):
    settings = {"model": "tiny", "url": server.url, "continues": True, "top_k": 5}
    cache = tmp_path / "replies.jsonl"
    expected = measured(Endpoint(**settings), CHATS).to_json()
    needed = len(server.asked)
    server.asked.clear()
    first = Endpoint(**settings, cache=cache, limits=Limits(requests=needed - 2, parallel=1))
    with pytest.raises(BudgetError, match=r"limit of \d+ requests is reached.*\(2 of 3 prompts"):
        measured(first, CHATS)
    assert len(server.asked) == needed - 2
    server.asked.clear()
    second = Endpoint(**settings, cache=cache, limits=Limits(requests=2))
    assert measured(second, CHATS).to_json() == expected
    assert len(server.asked) == 2
    server.asked.clear()
    assert measured(Endpoint(**settings, cache=cache), CHATS).to_json() == expected
    assert server.asked == []


def test_tokens_are_limited_too(server):
    endpoint = Endpoint(
        model="tiny", url=server.url, continues=True, limits=Limits(tokens=100, parallel=1)
    )
    with pytest.raises(BudgetError, match=r"limit of 100 tokens is reached.*without a cache"):
        measured(endpoint, CHATS)


# The real model -----------------------------------------------------------------------------------


def test_the_embedded_model_behind_a_server_answers_as_here(embedded):
    model, tokenizer = embedded
    prompt = "The capital of France is the city of"
    words = ("Paris", "the")
    asked = Example(prompt=prompt, target=WordDistribution(words, (0.5, 0.5)))
    canonical = score(model, tokenizer, prompt, words)
    spelled = [spelled_in_any_way(model, tokenizer, prompt, f" {word}") for word in words]
    with serving(model, tokenizer) as server:
        endpoint = Endpoint(
            model="smollm2",
            url=server.url,
            api="completions",
            top_k=model.config.vocab_size,
            limits=Limits(timeout=600, parallel=1),
        )
        (row,) = measured(endpoint, [asked]).rows()
    assert row["given"] == pytest.approx(spelled, abs=1e-4)
    assert row["tvd_high"] - row["tvd_low"] < 1e-4
    assert row["given"] == pytest.approx(canonical.log_probs.exp().tolist(), abs=2e-3)
    assert spelled[0] > 0.1


def spelled_in_any_way(model, tokenizer, prompt, word):
    """The probability that a text goes on with a word and its end, however it is cut."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    boundary = model_encoder(model, tokenizer).boundary_set("end_of_word")
    places, total = [(tokenizer(prompt)["input_ids"], word, 1.0)], 0.0
    while places:
        ids, rest, mass = places.pop()
        with torch.no_grad():
            probs = model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        if not rest:
            total += mass * float(probs[: len(boundary)][boundary].sum())
        for token, text in enumerate(texts):
            if text and rest.startswith(text) and mass * probs[token] > 3e-6:
                left = rest.removeprefix(text)
                places.append(([*ids, token], left, mass * float(probs[token])))
    return total


@pytest.mark.parametrize("top_k", [VOCAB_SIZE, 4])
def test_probes_ask_endpoints_and_bound_what_is_not_shown(taught, server, top_k):
    model, (tokenizer, _) = taught
    words = CHATS[0].target.words
    text = CHATS[0].prompt[-1]["content"]
    probe = WordsProbe(asked=(text,) * 5, answers=words[:2])
    local = measure(LocalModel(model=model, tokenizer=tokenizer, progress=False), probe)
    endpoint = Endpoint(model="tiny", url=server.url, api="chat", top_k=top_k, limits=QUICK)
    found = measure(replace(endpoint, continues=True), probe).metrics
    for name in (*words[:2], "valid"):
        low, high = found[f"{name}_low"].mean, found[f"{name}_high"].mean
        assert low - 1e-4 <= local.metrics[name].mean <= high + 1e-4
    if top_k == VOCAB_SIZE:
        assert found["valid"].mean == pytest.approx(local.metrics["valid"].mean, abs=1e-4)


def test_a_probe_that_needs_what_an_endpoint_has_not_is_refused_by_name(server):
    endpoint = Endpoint(model="tiny", url=server.url, api="chat", limits=QUICK)
    probe = WordsProbe(asked=("Which?",) * 5, answers=("tea", "milk"), thinking="low")
    with pytest.raises(ConfigError, match="probe can't be asked here: it needs going on behind"):
        measure(endpoint, probe)
