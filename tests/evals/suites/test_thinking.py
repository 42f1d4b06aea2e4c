"""The suite of thinking: ways of asking, thoughts, and the mixture of what follows them."""

import pytest
import torch

import distmatch as dm
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.templates import EFFORTS
from distmatch.errors import ConfigError
from distmatch.evals import LocalModel, measure
from distmatch.evals.suites import Thinking
from distmatch.evals.ways import ways_of_asking
from tests.evals.writing import typist
from tests.tiny import THINKING_TEMPLATES, thinking_tokenizer, tiny_model, tiny_tokenizer

SHORT = Thinking(questions=2, thoughts=3, max_tokens=4, max_stepwise_tokens=4)


@pytest.fixture(scope="module")
def thinker(harmony):
    """A tiny gpt-oss with the true vocabulary."""
    sizes = {"vocab_size": 201088, "pad_token_id": 199999, "eos_token_id": 200002}
    return tiny_model("gpt_oss", **sizes), harmony


def measured(model, tokenizer):
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    return measure(subject, SHORT, num_resamples=20)


def names(tokenizer):
    return [way.name for way in ways_of_asking(tokenizer)]


def test_a_model_is_asked_in_the_ways_it_knows(tiny, thinker):
    assert names(tiny[1]) == ["at once", "step by step"]
    assert names(thinker[1]) == ["none", "low", "medium", "high"]


@pytest.mark.parametrize("who", ["tiny", "thinker"])
def test_the_mixture_is_the_mean_of_the_exact_answers_behind_each_thought(who, request):
    model, tokenizer = request.getfixturevalue(who)
    report = measured(model, tokenizer)
    ways = names(tokenizer)
    assert list(report.groups()) == ways and report.num_examples == 2 * len(ways)
    for row in report.rows():
        thoughts = row["said"]["thoughts"]
        way = row["metadata"]["group"]
        assert len(thoughts) == (1 if way == ways[0] else 3)
        assert (row["spread"] > 0, row["thought_tokens"] > 0) == (way != ways[0],) * 2
        assert row["thought_tokens"] <= 4
        for place, word in enumerate(row["words"]):
            probs = []
            for thought in thoughts:
                prompt = asked_behind(row["prompt"], thought["thought"], way)
                effort = {"reasoning_effort": way} if way in EFFORTS else {}
                scores = dm.score(
                    model, tokenizer, prompt, row["words"], chat_template_kwargs=effort
                )
                probs.append(scores.log_probs[place].exp().item())
                assert thought["given"][place] == pytest.approx(probs[-1], rel=1e-3, abs=0)
            assert row["given"][place] == pytest.approx(
                sum(probs) / len(thoughts), rel=1e-3, abs=0
            ), word


def asked_behind(prompt, thought, way):
    if way == "none":
        return prompt
    if way in EFFORTS:
        return (*prompt, {"role": "assistant", "thinking": thought, "content": ""})
    content = f"{thought}\nAnswer:" if thought else "Answer:"
    return (*prompt, {"role": "assistant", "content": content})


@pytest.mark.parametrize("style", THINKING_TEMPLATES)
def test_models_that_write_think_are_asked_without_a_thought_and_behind_their_own(tiny, style):
    """Held against the scores of plain texts."""
    model, tokenizer = tiny[0], thinking_tokenizer(style)
    report = measured(model, tokenizer)
    assert list(report.groups()) == names(tokenizer) == ["none", "thinking"]
    for row in report.rows():
        thoughts = [thought["thought"] for thought in row["said"]["thoughts"]]
        is_thinking = row["metadata"]["group"] == "thinking"
        assert len(thoughts) == (3 if is_thinking else 1) and any(thoughts) == is_thinking
        chat = "".join(
            f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in row["prompt"]
        )
        gap = "\n" if style == "left with a switch" else "\n\n"
        scores = [
            dm.score(
                model,
                tokenizer,
                f"{chat}<|im_start|>assistant\n<think>\n{thought}\n</think>{gap}",
                row["words"],
                boundary="end_of_turn",
            )
            for thought in thoughts
        ]
        for place in range(len(row["words"])):
            mean = sum(s.log_probs[place].exp().item() for s in scores) / len(scores)
            assert row["given"][place] == pytest.approx(mean, rel=1e-3, abs=0)


def test_thoughts_are_the_seeds_and_leave_the_generator_alone(tiny):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again = (measured(*tiny) for _ in range(2))
    assert [row["said"] for row in first.rows()] == [row["said"] for row in again.rows()]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "thought", "is_cut"),
    [
        (" I may say fox. Answer: fox and", "I may say fox.", False),
        (" I may say fox or", "I may say fox or", True),
        ("Answer: fox", "", False),
    ],
)
def test_a_thought_ends_where_the_answer_is_announced(subject, text, thought, is_cut):
    most = subject.num_tokens([text])[0]
    _, stepwise = subject.ways()
    question = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say fox."})
    target = WordDistribution(("fox", "elk"), (0.6, 0.4))
    asked = stepwise.ask(Example(prompt=question, target=target))
    assert asked.prompt[1] == question[1] and "step by step" in asked.prompt[0]["content"]
    writer = typist(subject, text, is_cut=True)
    ((written,),) = writer.think([(stepwise, asked)], 1, lambda way: most, "")
    assert (written.text, written.is_cut) == (thought, is_cut)
    assert written.num_tokens == subject.num_tokens([text.partition("Answer:")[0]])[0]
    begun = stepwise.behind(asked, written.text).prompt[-1]["content"]
    assert begun == (f"{thought}\nAnswer:" if thought else "Answer:")


def test_ways_of_asking_differ_in_the_thought_alone(subject):
    at_once, stepwise = subject.ways()
    (question,) = Thinking(questions=1).examples()
    first, second = (way.behind(way.ask(question), "").prompt for way in (at_once, stepwise))
    assert first[1:] == second[1:] and first[-1]["content"] == "Answer:"
    assert second[0]["content"].casefold().endswith(first[0]["content"].casefold())


def test_thoughts_that_a_template_writes_otherwise_are_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template + "{# <think> #}"
    with pytest.raises(ConfigError, match="leave the suite thinking out"):
        ways_of_asking(tokenizer)
