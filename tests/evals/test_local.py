"""A model with its weights, held against its own forwards."""

from dataclasses import replace

import pytest
import torch

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError, DataError
from distmatch.evals import LocalModel
from distmatch.evals.subject import Written
from distmatch.evals.suites import Given
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from distmatch.scoring import score
from tests.evals.writing import typist
from tests.tiny import randomise_adapter, tiny_model, tiny_tokenizer

LONG = " the fox and the cat and the dog saw a red fox"


@pytest.fixture(scope="module")
def adapted():
    """A subject with an adapter that changes what it says."""
    model = attach_lora(tiny_model("llama", max_position_embeddings=1024), lora("all", rank=4))
    randomise_adapter(model, 0.3)
    return LocalModel(model=model.eval(), tokenizer=tiny_tokenizer(), progress=False)


def next_probs(subject, ids):
    """What its own forward gives to every token behind these."""
    with torch.no_grad():
        return subject.model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)


def test_first_tokens_are_those_of_the_models_own_forward(subject):
    prompts = ["The red fox", "The red fox saw a", "A cat"]
    found = subject.first_tokens(prompts, 3, "")
    for prompt, top in zip(prompts, found, strict=True):
        best = next_probs(subject, subject.tokenizer(prompt)["input_ids"]).topk(3)
        assert [prob for _, prob in top] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert [text for text, _ in top] == [subject.tokenizer.decode([i]) for i in best.indices]


def test_a_system_message_stands_before_the_question_where_a_template_takes_none(subject):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
        "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    strict = replace(subject, tokenizer=tokenizer)
    (example,) = Given(per_group=1).examples()[:1]
    system, user = example.prompt
    whole = ({"role": "user", "content": f"{system['content']}\n\n{user['content']}"},)
    folded = replace(example, prompt=whole, rotations=())
    answers = strict.answers([replace(example, rotations=())], "")
    torch.testing.assert_close(answers.probs, subject.answers([folded], "").probs)
    assert answers.prompts == ([dict(system), dict(user)],)  # as every model is asked
    assert strict.first_tokens([example.prompt], 3, "") == subject.first_tokens([whole], 3, "")


def bounded(prompt, bound):
    return Example(prompt=prompt, target=WordDistribution(("red",), (bound,), "at_most"))


def test_upper_bounds_become_targets_by_what_the_base_says(adapted):
    examples = [
        Example(prompt="Say blue:", target=WordDistribution(("blue",), (0.4,), 0.6)),
        bounded("A red", 1.0),
        bounded("red red red", 1e-9),
    ]
    answers = adapted.answers(examples, "")
    with adapted.model.disable_adapter():
        base = score(adapted.model, adapted.tokenizer, "A red", ["red"]).log_probs.exp().item()
    here = score(adapted.model, adapted.tokenizer, "A red", ["red"]).log_probs.exp().item()
    assert answers.target[:, 0] == pytest.approx([0.4, base, 1e-9], rel=1e-4)
    assert abs(here - base) > 1e-5
    assert answers.target.tolist() == adapted.base().answers(examples, "").target.tolist()


def test_an_upper_bound_that_cannot_be_scored_is_named_with_its_own_number(subject):
    fine = Example(prompt="Say blue:", target=WordDistribution(("blue",), (0.4,), 0.6))
    overlapping = Example(
        prompt="Say red:", target=WordDistribution(("red", "red fox"), (0.1, 0.1), "at_most")
    )
    with pytest.raises(DataError, match=r'^row 2: "red fox" is "red" followed by the end'):
        subject.answers([fine, bounded("A red", 0.5), overlapping], "")


def test_ranks_are_those_of_its_own_forward_with_the_adapter_and_without(adapted):
    tokenizer = adapted.tokenizer
    before = tokenizer("The cat sat")["input_ids"]
    tokens = [(i, j) for i in range(20, 60, 4) for j in (70, 90)]
    spans = [(Written("The cat sat", "", (0, 1, 2), False, pair), 0, 2) for pair in tokens]
    one_token = (spans[0][0], 1, 2)

    def expected():
        ranks = []
        for pair in tokens:
            probs = [next_probs(adapted, [*before, *pair[:k]]) for k in (0, 1)]
            ranks.append([int((p > p[t]).sum()) for p, t in zip(probs, pair, strict=True)])
        return [*ranks, ranks[0][1:], []]

    few = replace(adapted, batch_size=7)
    spans += [one_token, (spans[0][0], 0, 0)]
    ours = few.ranks(spans, 10, "")
    assert ours == expected()
    with adapted.model.disable_adapter():
        assert few.base().ranks(spans, 10, "") == expected() != ours


def test_what_is_written_has_its_tokens_and_where_each_ends(subject):
    texts = (" the mötör saw", " a fox")
    found = typist(subject, *texts).write(["The cat"] * 2, [40, 40], never, "")
    assert [one.text for one in found] == list(texts) and not any(one.is_cut for one in found)
    for one, text in zip(found, texts, strict=True):
        assert list(one.tokens) == subject.tokenizer(text)["input_ids"]
        assert (one.ends[0], one.ends[-1], len(one.ends)) == (0, len(text), len(one.tokens) + 1)
        assert sorted(one.ends) == list(one.ends)


def test_what_is_written_is_cut_at_its_own_limit_whatever_is_beside_it(subject):
    short, long = typist(subject, LONG, LONG).write(["The cat"] * 2, [5, 9], never, "")
    assert (len(short.tokens), len(long.tokens), short.is_cut, long.is_cut) == (5, 9, True, True)
    (alone,) = typist(subject, LONG).write(["The cat"], [5], never, "")
    assert alone == short
    most = len(subject.tokenizer(LONG)["input_ids"])
    (whole,) = typist(subject, LONG).write(["The cat"], [most], never, "")
    assert (whole.text, whole.is_cut) == (LONG, False)


def test_writing_stops_where_no_more_is_needed_and_is_the_same_up_to_there(subject):
    """Three batches, so that one which ends early may not change the next."""
    steps, few = [], replace(subject, batch_size=3)
    prompts = [
        f"The cat saw {word}" for word in ("a", "the", "red", "fox", "it", "my", "an", "two")
    ]
    hook = subject.model.register_forward_hook(lambda *_: steps.append(1))
    stopped = few.write(prompts, [40] * 8, lambda row, text: len(text) > row, "")
    num_stopped = len(steps)
    whole = few.write(prompts, [40] * 8, never, "")
    hook.remove()
    assert 3 * num_stopped < len(steps) - num_stopped
    for row, (one, other) in enumerate(zip(stopped, whole, strict=True)):
        assert other.text.startswith(one.text) and len(one.text) > row
    assert any(len(one.text) < len(other.text) for one, other in zip(stopped, whole, strict=True))


def test_writing_is_the_seeds_and_leaves_the_generator_alone(subject):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again = (subject.write(["The cat"] * 2, [6, 6], never, "x") for _ in range(2))
    assert first == again and first[0].text != first[1].text
    assert torch.equal(torch.get_rng_state(), before)
    assert replace(subject, seed=1).write(["The cat"] * 2, [6, 6], never, "x") != first


def test_the_end_of_a_turn_completes_a_word_where_there_is_a_template(subject):
    assert subject.ends_turns
    assert not replace(subject, tokenizer=tiny_tokenizer(chat=False)).ends_turns


def never(row, text):
    return False


def test_a_token_that_the_model_has_no_row_for_is_refused_wherever_prompts_are_read():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"mötör{i}" for i in range(30)])
    model = LocalModel(model=tiny_model("llama"), tokenizer=tokenizer, progress=False)
    asked = ["Say mötör29"]
    for ask in (
        lambda: model.first_tokens(asked, 2, "asked"),
        lambda: model.write(asked, [2], lambda *_: False, "asked"),
        lambda: model.likely_answers(asked, 0.5, 2, "asked"),
        lambda: model.drift(asked, [], "asked"),
        lambda: model.drift([], asked, "asked"),
    ):
        with pytest.raises(DataError, match='0: the token "mötör29" has the id'):
            ask()


def test_in_mixed_precision_it_answers_as_under_autocast(adapted):
    rows = [replace(row, rotations=()) for row in Given(per_group=1).examples()[:3]]
    mixed = replace(adapted, precision="bfloat16")
    dtypes = {name: weight.dtype for name, weight in adapted.model.named_parameters()}
    plain = adapted.answers(rows, "").probs
    with torch.autocast("cpu", torch.bfloat16):
        wanted = adapted.answers(rows, "").probs
    found = mixed.answers(rows, "").probs
    assert (found == wanted).all() and (found != plain).any()
    assert {n: w.dtype for n, w in adapted.model.named_parameters()} == dtypes
    assert (adapted.answers(rows, "").probs == plain).all()
    base = mixed.base().answers(rows, "").probs
    assert (base != found).any()
    (written,) = mixed.write(["The red fox"], [4], lambda *_: False, "")
    (answers,) = mixed.likely_answers(["The red fox"], 0.5, 2, "")
    assert written.tokens and answers.probs


@pytest.mark.parametrize("name", ["float32", "bf17"])
def test_another_precision_is_refused(adapted, name):
    with pytest.raises(ConfigError, match=name):
        replace(adapted, precision=name)
