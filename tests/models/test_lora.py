"""Expressions, what they resolve to, and what then trains: that and nothing else."""

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3MoeConfig

from distmatch.errors import ConfigError, TargetingError
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import LoraTarget, lora, resolve, target_table
from tests.tiny import tiny_model
from tests.training import IDS, moved, trained

MOE = {"vocab_size": 320, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
MOE |= {"num_experts": 4, "intermediate_size": 32, "moe_intermediate_size": 32, "head_dim": 16}


def paths(expression, model):
    return [site.path for site in resolve(lora(expression), model)]


def blocks(expression, num_blocks):
    model = tiny_model("llama", num_hidden_layers=num_blocks)
    return [site.block for site in resolve(lora(f"q@{expression}"), model)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("3", [3]),
        ("0", [0]),
        ("-1", [9]),
        ("-10", [0]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("4-4", [4]),
        ("-4:", [6, 7, 8, 9]),
        (":3", [0, 1, 2]),
        ("4:7", [4, 5, 6]),
        ("-3:-1", [7, 8]),
        (":-8", [0, 1]),
        (":", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("7,0,5", [0, 5, 7]),
        ("0,5-6,-1", [0, 5, 6, 9]),
        ("1-3,2-4", [1, 2, 3, 4]),
        ("first-quarter", [0, 1]),
        ("second-quarter", [2, 3, 4]),
        ("third-quarter", [5, 6]),
        ("last-quarter", [7, 8, 9]),
        ("first-half", [0, 1, 2, 3, 4]),
        ("last-half", [5, 6, 7, 8, 9]),
        ("0,last-quarter", [0, 7, 8, 9]),
    ],
)
def test_blocks_of_ten(written, expected):
    assert blocks(written, 10) == expected


def test_the_last_quarter_and_half_of_thirty_blocks():
    assert blocks("last-quarter", 30) == [22, 23, 24, 25, 26, 27, 28, 29]
    assert blocks("last-half", 30)[0] == 15


ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
EXPERTS = ["mlp.router.weight", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
LLAMA_1 = [f"model.layers.1.{leaf}" for leaf in ATTENTION + MLP]
GPT_OSS_2 = [f"model.layers.2.{leaf}" for leaf in ATTENTION + EXPERTS]
GPT2_3 = [
    "transformer.h.3.attn.c_attn",
    "transformer.h.3.attn.c_proj",
    "transformer.h.3.mlp.c_fc",
    "transformer.h.3.mlp.c_proj",
]


@pytest.mark.parametrize(
    "family", ["llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3"]
)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("attention@1", LLAMA_1[:4]),
        ("mlp@1", LLAMA_1[4:]),
        ("all@1", LLAMA_1),
        ("block@1", LLAMA_1),
        ("q,v@1", [LLAMA_1[0], LLAMA_1[2]]),
        ("down@1", [LLAMA_1[6]]),
        ("o,gate,up@-3", [LLAMA_1[3], LLAMA_1[4], LLAMA_1[5]]),
        (" k @ 1 + up @ 1 ", [LLAMA_1[1], LLAMA_1[5]]),
        ("attention,down@1", [*LLAMA_1[:4], LLAMA_1[6]]),
        ("mlp@1+block@1+q@1", LLAMA_1),
    ],
)
def test_sites_of_a_dense_block(family, expression, expected):
    assert paths(expression, tiny_model(family)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("qkv@3", GPT2_3[:1]),
        ("o@3", GPT2_3[1:2]),
        ("up@3", GPT2_3[2:3]),
        ("down@3", GPT2_3[3:]),
        ("attention@3", GPT2_3[:2]),
        ("mlp@3", GPT2_3[2:]),
        ("all@3", GPT2_3),
        ("block@-1", GPT2_3),
    ],
)
def test_sites_of_gpt2(expression, expected):
    assert paths(expression, tiny_model("gpt2")) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("attention@2", GPT_OSS_2[:4]),
        ("router@2", GPT_OSS_2[4:5]),
        ("experts@2", GPT_OSS_2[5:]),
        ("all@2", GPT_OSS_2[:4] + GPT_OSS_2[5:]),
        ("block@2", GPT_OSS_2),
        ("experts,router@2", GPT_OSS_2[4:]),
    ],
)
def test_sites_of_gpt_oss(expression, expected):
    assert paths(expression, tiny_model("gpt_oss")) == expected


def test_every_named_block_must_have_the_site_but_no_blocks_mean_wherever_it_is():
    config = Qwen3MoeConfig(num_hidden_layers=2, mlp_only_layers=[0], **MOE)
    model = AutoModelForCausalLM.from_config(config)
    experts = ["model.layers.1.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.down_proj"]
    assert sorted(paths("experts", model)) == sorted(experts)
    assert paths("down", model) == ["model.layers.0.mlp.down_proj"]
    with pytest.raises(TargetingError, match='"experts" matched nothing in block 0; its sites'):
        resolve(lora("experts@0-1"), model)


def test_sites_without_blocks_are_those_of_every_block():
    assert paths("v", tiny_model("llama")) == [
        "model.layers.0.self_attn.v_proj",
        "model.layers.1.self_attn.v_proj",
        "model.layers.2.self_attn.v_proj",
        "model.layers.3.self_attn.v_proj",
    ]


def test_terms_with_different_blocks_come_in_the_models_order():
    assert paths("down@3 + q@0,3", tiny_model("llama")) == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.3.self_attn.q_proj",
        "model.layers.3.mlp.down_proj",
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("atention@3", r'unknown site "atention"; known: all, .* Did you mean "attention"\?'),
        ("mlp@3+expert", r'unknown site "expert"; .* Did you mean "experts"\?'),
        ("q_proj@3", r'unknown site "q_proj"; .* Did you mean "q"\?'),
        ("mlp@last-quater", r'"last-quater"; known: .* Did you mean "last-quarter"\?'),
        ("mlp@", r'something is missing around "mlp@" in "mlp@"; expected SITES or SITES@BLOCKS'),
        ("@3", 'something is missing around "@3"'),
        ("", "something is missing"),
        ("mlp@3++q", 'something is missing around "" in "mlp@3\\+\\+q"'),
        ("q,@3", "something is missing"),
        ("mlp@1,", "something is missing"),
        ("mlp@7-3", 'the blocks "7-3" run backwards: write 3-7'),
        ("mlp@3..5", r'can\'t read the blocks "3\.\.5": expected such as 12, -1, 0-7, -4:'),
        ("mlp@1:2:3", "can't read the blocks"),
        ("mlp@3@4", "can't read the blocks"),
    ],
)
def test_an_expression_that_cannot_be_read_fails_when_it_is_written(expression, message):
    with pytest.raises(TargetingError, match=message):
        lora(expression)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"alpha": 0}, "alpha must be above 0, got 0"),
        ({"alpha": float("nan")}, "alpha must be above 0, got nan"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LoraTarget("mlp", **settings)


EXIST = "do not exist: this LlamaForCausalLM has 4, numbered 0-3"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mlp@4", rf"blocks \[4\] {EXIST}"),
        ("mlp@24,31", rf"blocks \[24, 31\] {EXIST}"),
        ("mlp@2-9", rf"blocks \[4-9\] {EXIST}"),
        ("mlp@:6", rf"blocks \[4, 5\] {EXIST}"),
        ("mlp@-5", rf"blocks \[-5\] {EXIST}"),
        ("mlp@-7:", rf"blocks \[-7 to -5\] {EXIST}"),
        ("mlp@2:2", r'"2:2" names no block: this LlamaForCausalLM has 4, numbered 0-3'),
        ("mlp@9:", r'"9:" names no block'),
        ("experts@3", r'"experts" matched nothing in block 3; its sites are: q, k, v, o, gate, up'),
        (
            "all+router",
            r'"router" matched nothing in blocks 0-3; their sites are: q, k, v, o, gate',
        ),
        ("q,qkv@0,1", r'"qkv" matched nothing in blocks 0, 1; their sites are: q, k'),
    ],
)
def test_what_this_model_does_not_have_is_an_error_that_lists_what_it_has(expression, message):
    with pytest.raises(TargetingError, match=message):
        resolve(lora(expression), tiny_model("llama"))


def test_asking_for_a_part_of_a_fused_matrix_names_the_whole():
    message = r'this GPT2LMHeadModel fuses q, k, v in one matrix \(c_attn\): ask for "qkv"'
    with pytest.raises(TargetingError, match=message):
        resolve(lora("q@1"), tiny_model("gpt2"))


def test_a_quarter_of_three_blocks_can_be_empty():
    with pytest.raises(TargetingError, match=r'"first-quarter" names no block: .* has 3'):
        blocks("first-quarter", 3)


def test_the_table_shows_each_site_once_and_the_total():
    # 2 * (48 + 64) a site in 3 blocks; 2 * (96 + 48) in one; of 123,312 parameters
    assert target_table(lora("q@1-3 + down@0", rank=2), tiny_model("llama")).splitlines() == [
        "site  blocks  path                             in x out  LoRA parameters",
        "down  0       model.layers.0.mlp.down_proj     96 x 48               288",
        "q     1-3     model.layers.*.self_attn.q_proj  48 x 64               672",
        "4 sites in blocks 0-3: 960 LoRA parameters of rank 2, 0.779% of the model's 123,312",
    ]


def lora_names(*modules):
    halves = (f"{module}.lora_{half}" for module in modules for half in "AB")
    return {f"base_model.model.{half}.default.weight" for half in halves}


def test_block_1_is_not_block_11():
    model = attach_lora(tiny_model("llama", num_hidden_layers=13), lora("mlp@1", rank=2))
    assert moved(*trained(model)) == lora_names(*LLAMA_1[4:])


def test_many_sites_are_not_widened_by_pefts_own_shortening():
    # From 20 module names on, PEFT replaces them by their shortest common endings
    model = attach_lora(tiny_model("llama", num_hidden_layers=13), lora("mlp@1-10", rank=2))
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    mlps = [f"model.layers.{block}.mlp" for block in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
    leaves = ("gate_proj", "up_proj", "down_proj")
    assert names == lora_names(*(f"{mlp}.{leaf}" for mlp in mlps for leaf in leaves))


def test_a_new_adapter_changes_no_logit():
    model = tiny_model("gpt_oss")
    with torch.no_grad():
        base = model(IDS).logits
        torch.testing.assert_close(attach_lora(model, lora("block"))(IDS).logits, base)


@pytest.mark.parametrize(("alpha", "scaling"), [(None, 2.0), (6.0, 1.5)])
def test_alpha_is_twice_the_rank_unless_given(alpha, scaling):
    model = attach_lora(tiny_model("llama"), lora("q@0", rank=4, alpha=alpha))
    assert model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj").scaling == {
        "default": scaling
    }


def test_the_adapter_of_a_half_precision_model_is_in_float32():
    model = attach_lora(tiny_model("gpt_oss", dtype=torch.bfloat16), lora("block@0"))
    learning = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    frozen = {weight.dtype for weight in model.parameters() if not weight.requires_grad}
    assert (learning, frozen) == ({torch.float32}, {torch.bfloat16})


def test_the_seed_decides_the_first_weights_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    first, same, other = (
        attach_lora(tiny_model("llama"), lora("q,v"), seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert moved(first, same) == set()
    assert moved(first, other) == {name for name in first if "lora_A" in name}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("is_training", [False, True])
def test_the_model_stays_in_its_mode_dropout_included(is_training):
    model = tiny_model("llama").train(is_training)
    adapted = attach_lora(model, lora("mlp", dropout=0.5))
    assert {module.training for module in adapted.modules()} == {is_training}


@pytest.mark.parametrize("expression", ["experts@1", "router@1", "block@1"])
def test_dropout_on_experts_is_refused_before_the_model_is_touched(expression):
    model = tiny_model("gpt_oss")
    with pytest.raises(TargetingError, match=r"dropout 0\.1 is impossible on experts and routers"):
        attach_lora(model, lora(expression, dropout=0.1))
    assert not any("lora" in name for name, _ in model.named_parameters())


def test_a_second_adapter_is_refused():
    adapted = attach_lora(tiny_model("llama"), lora("q@0"))
    with pytest.raises(TargetingError, match="this LlamaForCausalLM already has an adapter"):
        attach_lora(adapted.get_base_model(), lora("q@1"))


def test_a_stock_config_is_passed_through():
    config = peft.LoraConfig(r=3, target_modules=["v_proj"], layers_to_transform=[2])
    model = attach_lora(tiny_model("llama"), config, seed=0)
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert names == lora_names("model.layers.2.self_attn.v_proj")
    assert model.peft_config["default"].layers_to_transform == config.layers_to_transform


def test_a_weight_that_peft_thaws_on_its_own_is_an_error(monkeypatch):
    stock = peft.get_peft_model

    def careless(model, config):
        config.target_modules = ["model.layers.0.self_attn.q_proj"]
        adapted = stock(model, config)
        model.lm_head.weight.requires_grad_(True)
        return adapted

    monkeypatch.setattr(peft, "get_peft_model", careless)
    with pytest.raises(
        TargetingError,
        match=r"asked, but not trainable: model\.layers\.1\.self_attn\.q_proj; trainable, but not "
        r"asked: lm_head\.weight, model\.layers\.0\.self_attn\.q_proj\.lora_A\.default\.weight, .*"
        "load it again",
    ):
        attach_lora(tiny_model("llama"), lora("q@1"))
