"""What distmatch finds inside the blocks of every family."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    MixtralConfig,
    Phi3Config,
    PhimoeConfig,
    Qwen3MoeConfig,
)

from distmatch.errors import TargetingError
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import adaptable_sites, decoder_blocks
from distmatch.models.lora import lora, resolve
from tests.tiny import tiny_model

ATTENTION = [
    ("attention", "q", "self_attn.q_proj", 48, 64, None),
    ("attention", "k", "self_attn.k_proj", 48, 32, None),
    ("attention", "v", "self_attn.v_proj", 48, 32, None),
    ("attention", "o", "self_attn.o_proj", 64, 48, None),
]
MLP = [
    ("mlp", "gate", "mlp.gate_proj", 48, 96, None),
    ("mlp", "up", "mlp.up_proj", 48, 96, None),
    ("mlp", "down", "mlp.down_proj", 96, 48, None),
]
GPT2 = [
    ("attention", "qkv", "attn.c_attn", 48, 144, None),
    ("attention", "o", "attn.c_proj", 48, 48, None),
    ("mlp", "up", "mlp.c_fc", 48, 96, None),
    ("mlp", "down", "mlp.c_proj", 96, 48, None),
]
EXPERTS = [
    ("router", "router", "mlp.router.weight", 48, 4, None),
    ("experts", "experts", "mlp.experts.gate_up_proj", 48, 192, 4),
    ("experts", "experts", "mlp.experts.down_proj", 96, 48, 4),
]
EXPECTED = {
    "llama": ATTENTION + MLP,
    "qwen3": ATTENTION + MLP,
    "mistral": ATTENTION + MLP,
    "gemma": ATTENTION + MLP,
    "gemma2": ATTENTION + MLP,
    "gemma3": ATTENTION + MLP,
    "gpt2": GPT2,
    "gpt_oss": ATTENTION + EXPERTS,
}
MOE_CONFIG = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_experts_per_tok": 2,
}


def described(site):
    kind_and_name = (site.kind, site.name, site.path.split(f".{site.block}.", 1)[1])
    return (*kind_and_name, site.in_features, site.out_features, site.num_experts)


@pytest.mark.parametrize("family", EXPECTED)
def test_every_block_has_exactly_the_sites_of_its_family(family):
    sites = adaptable_sites(tiny_model(family))
    assert [site.block for site in sites] == sorted(site.block for site in sites)
    for block in range(4):
        assert [described(site) for site in sites if site.block == block] == EXPECTED[family]


def test_qwen2_differs_by_the_size_of_its_heads_alone():
    sizes = [(s.name, s.in_features, s.out_features) for s in adaptable_sites(tiny_model("qwen2"))]
    assert sizes[:4] == [("q", 48, 48), ("k", 48, 24), ("v", 48, 24), ("o", 48, 48)]


@pytest.mark.parametrize("family", EXPECTED)
def test_a_path_leads_to_a_weight_of_the_size_it_says(family):
    model = tiny_model(family)
    for site in adaptable_sites(model):
        weight = model.get_parameter(site.path + ("" if site.is_parameter else ".weight"))
        sizes = [site.num_experts or 1, site.in_features, site.out_features]
        assert site.is_parameter == (site.kind in ("experts", "router"))
        assert sorted(weight.shape) == sorted(sizes if site.num_experts else sizes[1:])


def test_a_lora_has_rank_times_inputs_and_outputs_for_each_expert():
    first, second = adaptable_sites(tiny_model("gpt_oss"))[5:7]
    assert first.lora_size(rank=2) == 2 * (48 + 192) * 4
    assert second.lora_size(rank=2) == 2 * (96 + 48) * 4


@pytest.mark.parametrize(("family", "path"), [("llama", "model.layers"), ("gpt2", "transformer.h")])
def test_blocks_are_named_by_their_full_paths_in_order(family, path):
    model = tiny_model(family)
    blocks = decoder_blocks(model)
    assert list(blocks) == [f"{path}.{index}" for index in range(4)]
    assert list(blocks.values()) == list(model.get_submodule(path))


def test_a_longer_vision_tower_is_not_taken_for_the_decoder():
    text = {"vocab_size": 320, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 5}
    vision |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    model = Gemma3ForConditionalGeneration(config)
    layers = "model.language_model.layers"
    assert list(decoder_blocks(model)) == [f"{layers}.0", f"{layers}.1"]
    assert [described(site) for site in adaptable_sites(model)] == 2 * (ATTENTION + MLP)


@pytest.mark.parametrize(
    "config",
    [
        MixtralConfig(**MOE_CONFIG, num_local_experts=4),
        Qwen3MoeConfig(**MOE_CONFIG, num_experts=4, moe_intermediate_size=96),
    ],
    ids=["mixtral", "qwen3_moe"],
)
def test_experts_stored_the_other_way_round_say_the_same_sizes(config):
    model = AutoModelForCausalLM.from_config(config)
    (gate_up,) = (
        s for s in adaptable_sites(model) if s.path.endswith("0.mlp.experts.gate_up_proj")
    )
    (router,) = (s for s in adaptable_sites(model) if s.path.endswith("0.mlp.gate.weight"))
    assert model.get_parameter(gate_up.path).shape == (4, 192, 48)
    assert described(gate_up)[3:] == (48, 192, 4)
    assert described(router)[0] == "router" and described(router)[3:] == (48, 4, None)


def test_a_linear_router_that_returns_more_than_logits_is_adapted_by_its_weight():
    model = AutoModelForCausalLM.from_config(PhimoeConfig(**MOE_CONFIG, num_local_experts=4))
    (router, *_) = (site for site in adaptable_sites(model) if site.kind == "router")
    assert described(router) == ("router", "router", "mlp.router.weight", 48, 4, None)
    ids = torch.arange(9)[None]
    plain = model.eval()(ids).logits
    adapted = attach_lora(model, lora("block", rank=2))
    torch.testing.assert_close(adapted(ids).logits, plain)


def test_matrices_of_unknown_names_are_listed():
    size = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    config = Phi3Config(
        vocab_size=320, num_attention_heads=4, pad_token_id=0, eos_token_id=2, **size
    )
    with pytest.raises(
        TargetingError,
        match=r"this Phi3ForCausalLM have matrices of unknown names: "
        r"self_attn\.qkv_proj, mlp\.gate_up_proj; known are q_proj, .* Pass a peft\.LoraConfig",
    ):
        adaptable_sites(AutoModelForCausalLM.from_config(config))


def test_a_model_without_blocks_beside_its_embedding_is_refused():
    config = BertConfig(
        vocab_size=320,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        is_decoder=True,
    )
    with pytest.raises(TargetingError, match=r"\(bert\.embeddings\.word_embeddings\) of this Bert"):
        decoder_blocks(BertLMHeadModel(config))


def test_deepseeks_latents_have_sites_of_their_own():
    model = tiny_model("deepseek_v2", q_lora_rank=20)
    sizes = {s.name: (s.in_features, s.out_features) for s in adaptable_sites(model)[:5]}
    # 4 heads of 12 + 8 for queries and keys and of 16 for values; latents of 20 and of 24 + 8
    assert sizes == {"q_a": (48, 20), "q_b": (20, 80), "kv_a": (48, 32), "kv_b": (24, 112)} | {
        "o": (64, 48)
    }
    with pytest.raises(TargetingError, match=r'fuses k, v in one matrix .*: ask for "kv_b"'):
        resolve(lora("k@1"), model)


def test_reading_the_sites_changes_nothing():
    model = tiny_model("gpt_oss")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    adaptable_sites(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())
