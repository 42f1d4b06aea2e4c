"""Operations of a step, against counts of the same products made one by one."""

import pytest

from distmatch.models.attaching import attached
from distmatch.models.lora import LoraTarget
from distmatch.sweeps.flops import step_flops
from distmatch.trainer import DistributionTrainer
from tests.sweeps.small import examples, settings
from tests.tiny import tiny_model, tiny_tokenizer


def counted(folder, model, **given):
    with attached(model, LoraTarget("q@0", 2), seed=0) as adapted:
        trainer = DistributionTrainer(
            model=adapted,
            processing_class=tiny_tokenizer(),
            args=settings(folder, **given),
            train_dataset=examples(),
        )
        return step_flops(trainer)


def test_fused_attention_counts_as_much_as_its_products(tmp_path):
    fused, plain = (
        counted(tmp_path, tiny_model("llama", attn_implementation=name))
        for name in ("sdpa", "eager")
    )
    # The fused backward computes queries times keys once more
    assert plain < fused < 1.2 * plain


def test_grouped_experts_count_as_much_as_one_after_the_other(tmp_path):
    grouped, each = (
        counted(tmp_path, tiny_model("deepseek_v2", experts_implementation=name))
        for name in ("grouped_mm", "eager")
    )
    assert grouped == pytest.approx(each, rel=0.01)


def test_accumulated_steps_count_as_often(tmp_path):
    once = counted(tmp_path, tiny_model("llama"))
    twice = counted(tmp_path, tiny_model("llama"), gradient_accumulation_steps=2)
    assert twice == 2 * once > 0
