"""Frozen matrices cast once: the numbers of autocast to the bit, and a model left as it was."""

import pytest
import torch

from distmatch.data.batching import make_batch
from distmatch.models.attaching import attach_lora
from distmatch.models.attention import Tree
from distmatch.models.blocks import decoder_blocks
from distmatch.models.cast_once import CastOnce
from distmatch.models.fused_lora import FusedLinear
from distmatch.models.lora import lora
from distmatch.models.trunk import Trunk
from tests.architectures import architecture
from tests.tiny import FAMILIES, tiny_model
from tests.trainer.test_distribution_trainer import examples, trainer

IDS = torch.randint(3, 290, (2, 20), generator=torch.Generator().manual_seed(0))


def weights(model):
    return {name: (id(weight), weight.dtype) for name, weight in model.named_parameters()}


def outcome(adapted, mixed=True):
    """What training needs of a model: logits, and the gradients of its adapter."""
    adapted.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        logits = adapted(IDS).logits
    (logits.float() if mixed else logits).pow(2).sum().backward()
    return logits, [weight.grad for weight in adapted.parameters() if weight.requires_grad]


@pytest.fixture
def all_alone(monkeypatch):
    """No layer is computed together with others of its input."""
    monkeypatch.setattr("distmatch.models.cast_once.given_together", lambda *_: [])


@pytest.mark.usefixtures("all_alone")
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_autocast_to_the_bit(family):
    adapted = attach_lora(tiny_model(family), lora("attention", rank=2), seed=0)
    plain = outcome(adapted)
    before = weights(adapted)
    cast = CastOnce(adapted, torch.bfloat16)
    with cast.installed():
        found = outcome(adapted)
        names = [n for n, w in adapted.named_parameters() if w.dtype == torch.bfloat16]
    assert len(names) >= 4 * 4
    assert not any("lora_" in n or "embed" in n or "norm" in n or "head" in n for n in names)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    assert weights(adapted) == before
    fused = [module for module in adapted.modules() if isinstance(module, FusedLinear)]
    parts = [part for module in fused for part in (module.lora_A, module.lora_B)]
    factors = [factor.numel() for part in parts for factor in part.parameters()]
    counts = [adapted.get_parameter(name).numel() for name in names]
    assert cast.num_bytes == 2 * sum([*counts, *factors])


@pytest.mark.usefixtures("all_alone")
def test_factors_are_those_of_the_step():
    adapted = attach_lora(tiny_model("llama"), lora("all", rank=2), seed=0)
    cast = CastOnce(adapted, torch.bfloat16)
    for _ in range(2):
        with torch.no_grad():
            for weight in adapted.parameters():
                weight.add_(0.1 if weight.requires_grad else 0.0)
        with cast.installed():
            found = outcome(adapted)
        torch.testing.assert_close(found, outcome(adapted), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mamba", "jamba", "gpt_neox", "phi", "falcon", "mixtral"])
@torch.no_grad()
def test_so_they_are_in_models_of_other_making(name):
    model = architecture(name).requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        plain = model(IDS).logits
        with CastOnce(model, torch.bfloat16).installed():
            assert torch.equal(model(IDS).logits, plain)


def test_what_learns_or_has_that_precision_is_not_cast():
    model = tiny_model("llama").requires_grad_(False)
    model.model.layers[1].requires_grad_(True)
    cast = CastOnce(model, torch.bfloat16)
    with cast.installed():
        assert all(w.dtype == torch.float32 for w in model.model.layers[1].parameters())
    assert CastOnce(tiny_model("llama"), torch.bfloat16).num_bytes == 0  # all of it learns
    halved = tiny_model("llama", dtype=torch.bfloat16).requires_grad_(False)
    assert CastOnce(halved, torch.bfloat16).num_bytes == 0


def test_after_an_error_the_model_has_its_own_again():
    model = tiny_model("llama").requires_grad_(False)
    before = weights(model)
    with pytest.raises(KeyboardInterrupt), CastOnce(model, torch.bfloat16).installed():
        raise KeyboardInterrupt
    assert weights(model) == before


@pytest.mark.usefixtures("all_alone")
def test_idle_blocks_stay_as_they_are_to_the_same_numbers():
    adapted = attach_lora(tiny_model("llama"), lora("all@1", rank=2), seed=0)
    plain = outcome(adapted)
    first, *_ = decoder_blocks(adapted.get_base_model()).values()
    whole, cast = (CastOnce(adapted, torch.bfloat16, idle=idle) for idle in ((), (first,)))
    matrices = [m.weight for m in first.modules() if isinstance(m, torch.nn.Linear)]
    with cast.installed():
        found = outcome(adapted)
        assert {matrix.dtype for matrix in matrices} == {torch.float32}
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    assert whole.num_bytes - cast.num_bytes == 2 * sum(matrix.numel() for matrix in matrices)


def test_blocks_that_kept_states_stand_for_are_not_cast(tmp_path):
    run = trainer(tmp_path, bf16=True, max_steps=1, peft_config=lora("mlp@1", rank=4))
    batches = [make_batch([trie], run.encoder) for trie in run.train_tries]
    trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
    trunk = Trunk(run.adapted, trees, mixed=torch.bfloat16, progress=False)
    trunk.raise_to(1)
    q_proj = "base_model.model.model.layers.{}.self_attn.q_proj".format
    below, above = (run.adapted.get_submodule(q_proj(block)) for block in (0, 1))
    seen = []

    def note(*_):
        seen.append((below.weight.dtype, above.weight.dtype))

    above.register_forward_pre_hook(note)
    with trunk.installed():
        run.train()
    assert {dtype for dtype, _ in seen} == {torch.float32}
    assert torch.bfloat16 in {dtype for _, dtype in seen}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_steps_run_on_them_and_measuring_on_the_models_own(checkpointing, tmp_path):
    seen = []
    given = {"bf16": True, "activation_checkpointing": checkpointing, "eval_strategy": "steps"}
    given |= {"eval_steps": 1, "max_steps": 2}
    run = trainer(tmp_path, eval_dataset=examples(2), **given)
    matrix = run.adapted.get_submodule("base_model.model.model.layers.1.mlp.down_proj.base_layer")
    norm = run.adapted.get_submodule("base_model.model.model.layers.1.input_layernorm")
    norm.register_forward_hook(
        lambda module, *_: seen.append((torch.is_grad_enabled(), matrix.weight.dtype))
    )
    before = weights(run.adapted)
    run.train()
    in_steps = {dtype for with_gradient, dtype in seen if with_gradient}
    measured = {dtype for with_gradient, dtype in seen if not with_gradient}
    assert (in_steps, measured) == ({torch.bfloat16}, {torch.float32})
    assert weights(run.adapted) == before
