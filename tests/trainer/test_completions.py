"""Completions and texts, held against plain negative log-likelihood."""

import pytest
import torch

from distmatch.data import Example
from tests.tiny import tiny_tokenizer
from tests.trainer.test_distribution_trainer import small_model, trainer

ASK = [{"role": "user", "content": "Which animal?"}]
ANSWER = "a red fox, or an otter"
TEXT = "the cat drinks milk and the dog drinks tea"


@torch.no_grad()
def plain_losses(model, ids, first):
    """Negative log-likelihoods of the tokens from the first on."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [-float(logits[place - 1, ids[place]]) for place in range(first, len(ids))]


@pytest.mark.parametrize("per_token", [False, True])
def test_a_completion_has_the_negative_log_likelihood_of_its_tokens_and_turn_end(
    tmp_path, per_token
):
    row = Example.from_record({"prompt": ASK, "completion": ANSWER, "per_token": per_token})
    run = trainer(tmp_path, [row], model=small_model())
    (loss, outputs) = run.compute_loss(
        run.model, {"rows": torch.tensor([0])}, return_outputs=True, num_items_in_batch=1
    )
    tokenizer = tiny_tokenizer()
    prompt = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, return_dict=True)
    (trie,) = run.train_tries
    (path,) = trie.paths[0]
    assert list(trie.prompt_ids) == prompt["input_ids"]
    ends = [
        sum(plain_losses(run.model, [*trie.prompt_ids, *path, end], len(trie.prompt_ids)))
        for end in run.encoder.end_ids
    ]
    wanted = -torch.logsumexp(-torch.tensor(ends), 0).item()
    wanted /= len(path) + 1 if per_token else 1
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    assert outputs["losses"].tolist() == pytest.approx([wanted], rel=1e-4)


def test_a_text_has_the_mean_negative_log_likelihood_behind_its_first_word(tmp_path):
    run = trainer(tmp_path, [Example.from_record({"text": TEXT})], model=small_model())
    loss = run.compute_loss(run.model, {"rows": torch.tensor([0])}, num_items_in_batch=1)
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    first = len(run.train_tries[0].prompt_ids)
    assert [*run.train_tries[0].prompt_ids, *run.train_tries[0].paths[0][0]] == ids
    losses = plain_losses(run.model, ids, first)
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_completions_and_texts_are_learned(tmp_path):
    rows = [
        Example.from_record({"prompt": ASK, "completion": ANSWER}),
        Example.from_record({"text": TEXT}),
    ]
    run = trainer(tmp_path, rows, model=small_model(), max_steps=30)
    run.train()
    losses = [line["loss"] for line in run.state.log_history if "loss" in line]
    assert losses[-1] < losses[0] / 5
