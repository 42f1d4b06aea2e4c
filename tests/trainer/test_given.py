"""What users of other trainers hand to this one: taken, or refused before anything is made."""

from dataclasses import replace
from types import SimpleNamespace

import peft
import pytest
import torch
from transformers import TrainingArguments
from transformers.training_args import ParallelMode

from distmatch.errors import ConfigError, DataError, LoadError, TargetingError
from distmatch.models.adapters import load_adapter
from distmatch.models.quantizers import random_packed
from distmatch.scoring import score
from distmatch.trainer import DistributionConfig, DistributionTrainer
from distmatch.trainer.given import check_sharding
from tests.tiny import tiny_model, tiny_tokenizer
from tests.trainer.test_distribution_trainer import examples, small_model, trainer


def given(folder, **changes):
    args = DistributionConfig(output_dir=str(folder), use_cpu=True, max_steps=1, disable_tqdm=True)
    plain = {"model": tiny_model("llama"), "args": args, "processing_class": tiny_tokenizer()}
    return DistributionTrainer(**plain | {"train_dataset": examples()} | changes)


def test_a_model_may_come_by_its_name(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    run = given(tmp_path / "run", model=str(tmp_path / "model"), processing_class=None)
    assert len(run.encoder.tokenizer) == len(tiny_tokenizer())
    with pytest.raises(LoadError, match=r'unknown model "smolm2-135m".*Did you mean "smollm2'):
        given(tmp_path / "run", model="smolm2-135m")


def test_a_model_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="processing_class is missing: give the model's token"):
        given(tmp_path, processing_class=None)


@pytest.mark.parametrize("args", [None, "plain", {"max_steps": 1}])
def test_settings_of_another_kind_are_refused(args, tmp_path):
    args = TrainingArguments(output_dir=str(tmp_path)) if args == "plain" else args
    with pytest.raises(ConfigError, match=r"args is .*: give a DistributionConfig"):
        given(tmp_path, args=args)


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=2),
    ],
    ids=lambda config: type(config).__name__,
)
def test_adapters_that_write_into_the_prompt_are_refused(config, tmp_path):
    model = tiny_model("llama")
    with pytest.raises(TargetingError, match=rf"{type(config).__name__} .*: give dm.lora"):
        given(tmp_path, model=model, peft_config=config)
    assert not any("prompt" in name for name, _ in model.named_modules())


def test_an_adapter_that_learns_tokens_loads_on_its_own_base(tmp_path):
    config = peft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[5, 6], r=2)
    run = trainer(tmp_path / "run", peft_config=config)
    run.train()
    run.save_model()
    prompt, words = "Say red or blue:", ["red", "blue"]
    trained = score(run.model, tiny_tokenizer(), prompt, words)
    loaded = load_adapter(small_model(), tmp_path / "run")
    torch.testing.assert_close(score(loaded, tiny_tokenizer(), prompt, words), trained)


@pytest.mark.parametrize("rows", [[], {"near": []}])
def test_a_set_without_examples_is_refused(rows, tmp_path):
    with pytest.raises(DataError, match="is empty: give examples to evaluate on"):
        given(tmp_path, eval_dataset=rows)


def test_an_evaluation_without_a_set_is_refused(tmp_path):
    args = DistributionConfig(output_dir=str(tmp_path), use_cpu=True, eval_strategy="steps")
    with pytest.raises(ConfigError, match=r"eval_strategy is .*no eval_dataset: give"):
        given(tmp_path, args=args)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"output_dir is .* is a file: choose another folder"):
            given(folder)


def test_words_that_the_model_has_no_rows_for_are_refused_by_token(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"mötör{i}" for i in range(30)])
    rows = examples()
    assert given(tmp_path, processing_class=tokenizer, train_dataset=rows)
    prompt = [{"role": "user", "content": "Say mötör29"}]
    row = {"prompt": prompt, "words": ["red", "blue"], "probs": [0.5, 0.5]}
    with pytest.raises(DataError, match=r'row 8: the token "mötör29" has the id .*\.resize_token'):
        given(tmp_path, processing_class=tokenizer, train_dataset=[*rows, row])


def sharding(**told):
    plain = {"fsdp": True, "fsdp_config": {}, "parallel_mode": ParallelMode.DISTRIBUTED}
    return SimpleNamespace(**plain | {"device": torch.device("cuda")} | told)


def test_what_cannot_be_sharded_is_refused_by_name():
    dense = tiny_model("llama")
    packed = random_packed(tiny_model("gpt_oss").config, torch.device("cpu"), torch.float32)
    rows = examples()[:2]
    keeping = [
        replace(r, target=replace(r.target, probs=(0.2, 0.2), other="preserve")) for r in rows
    ]
    check_sharding(sharding(), dense, rows, has_texts=False)
    check_sharding(sharding(fsdp=False), packed, rows, has_texts=True)
    with pytest.raises(ConfigError, match=r"model\.layers\.0\.mlp\.experts.* is packed"):
        check_sharding(sharding(), packed, rows, has_texts=False)
    with pytest.raises(ConfigError, match="a retention_dataset takes forwards of the base"):
        check_sharding(sharding(), dense, rows, has_texts=True)
    with pytest.raises(ConfigError, match='other = "preserve" takes forwards of the base'):
        check_sharding(sharding(), dense, keeping, has_texts=False)
    with pytest.raises(ConfigError, match=r'fsdp_config asks for version 1: give \{"version": 2'):
        check_sharding(sharding(fsdp_config={"version": 1}), dense, rows, has_texts=False)
    with pytest.raises(ConfigError, match="fsdp shards over processes: start them with torchrun"):
        alone = sharding(parallel_mode=ParallelMode.NOT_DISTRIBUTED)
        check_sharding(alone, dense, rows, has_texts=False)


def test_without_gpus_nothing_would_be_sharded(tmp_path):
    args = DistributionConfig(output_dir=str(tmp_path), use_cpu=True, fsdp="full_shard")
    with pytest.raises(ConfigError, match="accelerate shards nothing in processes without a GPU"):
        given(tmp_path, args=args)
