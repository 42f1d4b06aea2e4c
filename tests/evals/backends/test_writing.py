"""An endpoint that writes, and what its base expects: against the same weights here."""

import re
from dataclasses import replace
from itertools import accumulate, chain

import pytest
import torch

from distmatch.data.known import Known
from distmatch.data.tasks.deviation import DeviationQuestion
from distmatch.errors import BudgetError, ConfigError
from distmatch.evals import Capability, Endpoint, Limits, LocalModel, measure
from distmatch.evals.subject import Written
from distmatch.evals.suites import Deviation
from tests.evals.backends.serving import serving
from tests.tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer

LIKELY = "a likely word"
CHAT = ({"role": "user", "content": "Go on."}, {"role": "assistant", "content": "The red"})
ASKED = {
    "chat": {"continues": True},
    "completions": {"api": "completions"},
}
MANY = 150  # so that some ranks of a model that has learnt nothing are below
KNOWN = Known(
    "passage",
    "the cat",
    "The cat saw a dog, and the red fox saw a blue cat and a dog. "
    "Pick a word: red or blue, cat or dog.",
)
FEW = Deviation(passages=2, patterns=0, per_text=2, alone=1, room=0.05, spare=4)


@pytest.fixture(scope="module")
def models():
    """What is asked, and what is beneath it."""
    return [tiny_model("llama", max_position_embeddings=1024, seed=seed) for seed in (1, 0)]


@pytest.fixture(scope="module")
def served(models):
    with serving(models[0], tiny_tokenizer()) as server:
        server.models["base"] = models[1]
        yield server


@pytest.fixture
def server(served):
    served.asked.clear()
    served.says.clear()
    yield served
    served.gives_logprobs = served.shows_end = True


def endpoint(server, **settings):
    settings = {"model": "tiny", "url": server.url, "progress": False, **settings}
    return Endpoint(**settings)


def with_base(server, **settings):
    base = endpoint(server, **settings | {"model": "base"})
    return endpoint(server, **settings, beneath=base)


def never(row, text):
    return False


def write(subject, prompts, max_tokens=6):
    return subject.write(prompts, [max_tokens] * len(prompts), never, "writing")


# Writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_each_prompt_is_written_to_in_one_request_and_one_given_twice_twice(server, asked):
    other = (*CHAT[:1], {"role": "assistant", "content": "A"})
    subject = endpoint(server, **asked)
    texts = write(subject, [CHAT, other, CHAT])
    assert [one.prompt for one in texts] == [CHAT, other, CHAT]
    assert len(server.asked) == 3 == len({body["seed"] for body in server.asked})
    assert all(body["max_tokens"] == 6 and body["n"] == 1 for body in server.asked)
    assert texts[0].text != texts[2].text
    assert write(subject, [CHAT, other, CHAT]) == texts
    assert len(server.asked) == 3
    again = write(endpoint(server, **asked), [CHAT, other, CHAT])
    assert again == texts
    assert write(replace(subject, seed=1), [CHAT])[0].text != texts[0].text


def test_draws_differ_where_no_seed_tells_them_apart(server):
    write(endpoint(server, continues=True, extra={"seed": None}), [CHAT] * 3)
    assert len(server.asked) == 3 and "seed" not in server.asked[0]


@pytest.mark.parametrize("shows_end", [True, False])
@pytest.mark.parametrize("text", [" saw a cat", " saw an otter, green été", "", " é"])
def test_a_text_ends_where_its_tokens_do(server, text, shows_end):
    server.says["tiny"], server.shows_end = text, shows_end
    (whole,) = write(endpoint(server, continues=True), [CHAT], 40)
    assert (whole.text, whole.is_cut) == (text, False)
    tokens = tiny_tokenizer()(text)["input_ids"]
    decoded = [tiny_tokenizer().decode(tokens[:k]) for k in range(len(tokens) + 1)]
    expected = sorted({len(said) for said in decoded if text.startswith(said)})
    assert list(whole.ends) == expected  # pieces of a character count as one token


def test_a_text_that_takes_too_long_is_cut(server):
    server.says["tiny"] = " saw a cat and a dog"
    (cut,) = write(endpoint(server, continues=True), [CHAT], 3)
    assert cut.is_cut and " saw a cat and a dog".startswith(cut.text)
    assert (len(cut.ends), cut.ends[-1]) == (4, len(cut.text))


def test_without_log_probabilities_a_text_is_one_token(server):
    server.gives_logprobs = False
    server.says["tiny"] = " saw a cat"
    (whole,) = write(endpoint(server, continues=True, top_k=0), [CHAT], 40)
    assert whole == Written(CHAT, " saw a cat", (0, 10), is_cut=False)


def test_about_as_many_tokens_are_expected_as_a_text_takes(server):
    texts = ["The red fox and the red cat saw a dog", ""]
    exact = [len(tiny_tokenizer()(text)["input_ids"]) for text in texts]
    found = endpoint(server).num_tokens(texts)
    assert all(n <= m for n, m in zip(exact, found, strict=True)) and found[1] <= 1


# What is expected ---------------------------------------------------------------------------------


def spelled(text):
    """A text as a local model writes it: a token's end is where the text before the next ends."""
    tokenizer = tiny_tokenizer()
    tokens = tokenizer(text)["input_ids"]
    ends = accumulate((len(tokenizer.decode([token])) for token in tokens), initial=0)
    return Written(CHAT, text, tuple(ends), is_cut=False, tokens=tuple(tokens))


@pytest.mark.parametrize("top_k", [MANY, VOCAB_SIZE])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_an_endpoint_ranks_what_was_written_as_a_model_here_does(server, models, top_k, asked):
    tokenizer = tiny_tokenizer()
    texts = [spelled(text) for text in (" cat and the dog", " fox, the red.", " blue red")]
    if "api" in asked:
        tokenizer.chat_template = None
        texts += [spelled(" saw an otter 7")]  # cut behind spaces, where a chat can't be asked
    spans = [(one, 0, len(one.tokens)) for one in texts] + [(texts[0], 2, 4), (texts[0], 0, 0)]
    local = LocalModel(model=models[1], tokenizer=tokenizer, progress=False)
    expected = [[min(rank, MANY) for rank in ranks] for ranks in local.ranks(spans, MANY, "ranks")]
    found = with_base(server, **asked, top_k=top_k).base().ranks(spans, MANY, "ranks")
    assert found == expected
    assert {body["model"] for body in server.asked} == {"base"}
    ranks = list(chain.from_iterable(expected))
    assert min(ranks) < MANY == max(ranks)


def test_what_cannot_be_asked_about_counts_as_expected(server):
    subject = endpoint(server, continues=True)
    behind_space = Written(CHAT, "  7", (0, 1, 2, 3), is_cut=False)
    assert subject.ranks([(behind_space, 1, 3)], 10, "ranks") == [[0, 0]]
    assert server.asked == []
    pieces = Written(CHAT, " é", (0, 1, 2), is_cut=False)
    assert subject.ranks([(pieces, 1, 2)], 10, "ranks") == [[0]]
    texts = endpoint(server, api="completions", top_k=VOCAB_SIZE)
    assert texts.ranks([(behind_space, 2, 3)], VOCAB_SIZE, "ranks")[0][0] > 0


def test_more_than_the_endpoint_shows_cannot_be_known(server):
    with pytest.raises(ConfigError, match="likeliest 10 next tokens are asked for, and top_k is 5"):
        endpoint(server, continues=True, top_k=5).ranks([], 10, "ranks")


# Its base -----------------------------------------------------------------------------------------


def test_what_an_endpoint_can_do_depends_on_what_it_gives(server):
    some = {Capability.WORDS, Capability.WRITING}
    assert endpoint(server, top_k=0).capabilities == some
    assert endpoint(server).capabilities == some | {Capability.NEXT_TOKENS}
    assert with_base(server).capabilities == some | {Capability.NEXT_TOKENS, Capability.BASE}
    with pytest.raises(ConfigError, match="Endpoint can't be asked for being asked without its"):
        endpoint(server).base()


@pytest.mark.parametrize("settings", [{"top_k": 5}, {"api": "completions"}, {"continues": True}])
def test_what_is_beneath_is_asked_in_the_same_way(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"the endpoint beneath differs in {name}, and is to be"):
        Endpoint(model="tiny", beneath=Endpoint(model="base", **settings))


def test_both_share_limits_and_what_is_kept(server, tmp_path):
    settings = {"continues": True, "cache": tmp_path / "replies.jsonl"}
    subject = with_base(server, **settings, limits=Limits(requests=2, parallel=1))
    (written,) = write(subject, [CHAT])
    span = (written, 0, len(written.ends) - 1)
    with pytest.raises(BudgetError, match="the limit of 2 requests is reached"):
        subject.base().ranks([span], 10, "ranks")
    assert len(server.asked) == 2
    ranks = with_base(server, **settings).base().ranks([span], 10, "ranks")
    server.asked.clear()
    again = with_base(server, **settings)
    assert write(again, [CHAT]) == [written]
    assert again.base().ranks([span], 10, "ranks") == ranks
    assert server.asked == []


def test_a_base_elsewhere_has_limits_of_its_own(server):
    base = endpoint(server, model="base", limits=Limits(requests=1))
    assert endpoint(server, beneath=base).client is not base.client


def test_a_report_is_kept_by_what_both_are(server):
    alone, both = endpoint(server, key_env="MY_KEY"), with_base(server, key_env="MY_KEY", seed=3)
    assert alone.record() == {
        **{"model": "tiny", "url": server.url, "api": "chat", "top_k": 20, "samples": 32},
        **{"continues": False, "extra": {}},
    }
    assert both.record() == {**alone.record(), "beneath": alone.record() | {"model": "base"}}


# The suite ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_the_suite_deviation_asks_an_endpoint_and_its_base(server, asked):
    subject = with_base(server, **asked)
    report = measure(subject, FEW, num_resamples=10)
    assert report.num_examples == len(FEW.questions())
    for row in report.rows():
        assert row["in_window"] + row["too_early"] + row["never"] == 1
    told = {body["model"]: body["max_tokens"] > 1 for body in server.asked}
    assert told == {"tiny": True, "base": False}
    assert 0 < report.metrics["unlikely"].mean <= 1
    asked_before = len(server.asked)
    assert measure(subject, FEW, num_resamples=10).to_json() == report.to_json()
    assert len(server.asked) == asked_before


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    "text",
    [
        " saw a dog, and the kumquat saw",
        " saw a the",
        LIKELY,
        " saw a dog, and the red fox saw a blue cat and a dog.",
        "",
    ],
)
def test_of_the_same_text_an_endpoint_judges_as_a_model_here(
    server, models, monkeypatch, text, asked
):
    tokenizer = tiny_tokenizer()
    if "api" in asked:
        tokenizer.chat_template = None
    local = LocalModel(model=models[1], tokenizer=tokenizer, progress=False)
    question = DeviationQuestion(known=KNOWN, given=2, length=10, window=10, wording="go_on")
    if text == LIKELY:
        text = likely_departure(local, question)
    server.says["tiny"] = text
    says_here(monkeypatch, models[1], tokenizer, text)
    (found,) = Deviation().departures(with_base(server, **asked), [question])
    (here,) = Deviation().departures(local, [question])
    assert found._replace(text="") == here._replace(text="")
    assert found.is_unlikely == ("kumquat" in text or "saw a the" in text)


def likely_departure(local, question):
    """A text that is left with a word among the ten likeliest tokens."""
    words = question.rest.split(" ")
    befores = [" ".join(words[:k]) for k in range(1, question.length + question.window + 1)]
    begun = [{"role": "assistant", "content": question.beginning + text} for text in befores]
    tops = local.first_tokens([(*question.prompt, told) for told in begun], 10, "first")
    return next(
        before + text
        for before, right, top in zip(befores, words[1:], tops, strict=False)
        for text, _ in top
        if re.fullmatch(" [a-z]+", text) and text.strip() != right
    )


def says_here(monkeypatch, model, tokenizer, text):
    ids = torch.tensor([[*tokenizer(text)["input_ids"], 2]], dtype=torch.long)

    def generate(self, input_ids, **settings):
        return torch.cat([input_ids, ids], dim=1)

    monkeypatch.setattr(type(model), "generate", generate)
