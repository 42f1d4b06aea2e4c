"""The probe against gradients of separate sequences, through one weight matrix at a time."""

import pytest
import torch

from distmatch.data import Example, WordDistribution
from distmatch.models.attaching import adapted_layers, attach_lora
from distmatch.models.blocks import adaptable_sites
from distmatch.models.lora import lora
from distmatch.scoring import model_encoder
from distmatch.sweeps.probe import LOSSES, probe
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [("red", "blue", 0.7, 0.0), ("cat", "otter", 0.25, 0.0), ("red fox", "red", 0.4, 0.2)]


def example(first, second, p, other):
    target = WordDistribution((first, second), (p * (1 - other), (1 - p) * (1 - other)), other)
    return Example(prompt=f"Say {first} or {second}:", target=target, boundary="end_of_turn")


EXAMPLES = [example(*row) for row in ROWS]


def made(family, dtype=torch.float32):
    model = tiny_model(family, dtype=dtype)
    encoder = model_encoder(model, tiny_tokenizer())
    return model, encoder, encoder.encode_all(EXAMPLES)


def separate_losses(model, encoder, trie, target):
    """Both losses, of one forward a word: the product of its tokens and of what may follow."""
    ends = encoder.boundary_set(trie.boundary).nonzero()[:, 0]
    log_words = []
    for (path,) in trie.paths:
        ids = torch.tensor([[*trie.prompt_ids, *path]])
        logits = model(ids).logits[0].log_softmax(-1)
        start = len(trie.prompt_ids) - 1
        steps = [logits[start + i, token] for i, token in enumerate(path)]
        log_words.append(sum(steps) + logits[start + len(path), ends].logsumexp(0))
    log_words = torch.stack(log_words)
    log_other = torch.log1p(-log_words.exp().sum())
    wanted = torch.tensor(target.probs)
    copying = (wanted * (wanted.log() - log_words)).sum()
    if target.other_prob:
        other = torch.tensor(target.other_prob)
        copying = copying + other * (other.log() - log_other)
    wanted = wanted / wanted.sum()
    control = (wanted * (wanted.log() - log_words.log_softmax(0))).sum()
    return {"copying": copying, "control": control}


def first_halves(family, sites):
    """LoRA's A of every site, as the probe draws it; of experts a stack."""
    twin = attach_lora(tiny_model(family), lora("block", 16), seed=0).get_base_model()
    layers = {path: name for name, path in adapted_layers(twin).items()}
    halves = [twin.get_submodule(layers[site.path]).lora_A["default"].weight for site in sites]
    return [
        half.detach().unflatten(0, (site.num_experts, 16)) if site.num_experts else half.detach()
        for half, site in zip(halves, sites, strict=True)
    ]


def brute_force(model, family, encoder, tries, sites):
    """Squared norm and Fisher score of dL/dB where B starts at 0: of (dL/dW) A' by definition."""
    weights = [
        model.get_parameter(site.path if site.is_parameter else f"{site.path}.weight")
        for site in sites
    ]
    firsts = first_halves(family, sites)
    found, scale = {}, 2.0  # alpha over rank
    gradients = {loss: [] for loss in LOSSES}
    for trie, row in zip(tries, EXAMPLES, strict=True):
        for loss, value in separate_losses(model, encoder, trie, row.target).items():
            of_weights = torch.autograd.grad(value, weights, retain_graph=True)
            gradients[loss].append(
                [  # gpt-oss stores its experts (in, out)
                    scale * (g.mT if site.kind == "experts" else g) @ a.mT
                    for site, g, a in zip(sites, of_weights, firsts, strict=True)
                ]
            )
    for loss, of_examples in gradients.items():
        for site, own in zip(sites, zip(*of_examples, strict=True), strict=True):
            mean = sum(own) / len(own)
            fisher = sum(float(g.square().sum()) for g in own) / len(own)
            found.setdefault((loss, site.block, site.kind, site.name), []).append(
                (float(mean.square().sum()), fisher)
            )
    return found


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_scores_are_those_of_separate_sequences(family):
    model, encoder, tries = made(family)
    scores = probe(model, encoder, tries, progress=False)
    sites = adaptable_sites(model)
    expected = brute_force(model, family, encoder, tries, sites)
    ours = {}
    for score in scores:
        ours.setdefault(tuple(score[:4]), []).append((score.squared_norm, score.fisher))
    assert ours.keys() == expected.keys()
    for key, values in expected.items():  # the stacks of a block's experts in any order
        for one, other in zip(sorted(ours[key]), sorted(values), strict=True):
            assert one == pytest.approx(other, rel=1e-3), key


def test_the_two_losses_are_what_they_say():
    model, encoder, tries = made("llama")
    scores = probe(model, encoder, tries, progress=False)
    by_loss = {loss: [s.squared_norm for s in scores if s.loss == loss] for loss in LOSSES}
    assert len(by_loss["copying"]) == len(by_loss["control"]) == 4 * 7
    assert by_loss["copying"] != by_loss["control"]


def test_the_mean_gradient_is_no_larger_than_its_parts():
    model, encoder, tries = made("llama")
    for score in probe(model, encoder, tries, progress=False):
        assert 0 < score.squared_norm <= score.fisher * (1 + 1e-6)


def test_of_one_example_both_scores_are_one():
    model, encoder, tries = made("llama")
    for score in probe(model, encoder, tries[:1], progress=False):
        assert score.squared_norm == pytest.approx(score.fisher, rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "gpt2", "deepseek_v2"])
def test_every_site_has_both_scores(family):
    model, encoder, tries = made(family)
    scores = probe(model, encoder, tries[:1], progress=False)
    expected = sorted((s.block, s.kind, s.name) for s in adaptable_sites(model))
    for loss in LOSSES:
        own = [score for score in scores if score.loss == loss]
        assert sorted((s.block, s.kind, s.name) for s in own) == expected
        assert all(s.fisher >= 0 for s in own)


def test_a_weight_that_decides_nothing_scores_nothing():
    model, encoder, tries = made("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight.zero_()  # what feeds it can't matter
    scores = probe(model, encoder, tries, progress=False)
    dead = {(s.block, s.name) for s in scores if s.fisher == 0}
    assert dead == {(2, "gate"), (2, "up")}


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_the_model_and_the_generator_are_left_as_they_were(family):
    model, encoder, tries = made(family)
    model.train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    learns = [(name, p.requires_grad) for name, p in model.named_parameters()]
    state = torch.get_rng_state()
    first = probe(model, encoder, tries, progress=False)
    assert [(n, type(m), m.training) for n, m in model.named_modules()] == modules
    assert [(name, p.requires_grad) for name, p in model.named_parameters()] == learns
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert probe(model, encoder, tries, progress=False) == first
