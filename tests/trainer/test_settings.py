"""Every setting of `transformers.TrainingArguments`: what it does here, or that it is refused."""

from dataclasses import fields

import pytest
import torch
from accelerate import ParallelismConfig
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from distmatch.errors import ConfigError, MissingExtraError
from distmatch.models.lora import lora
from distmatch.trainer import DistributionConfig, DistributionTrainer
from distmatch.trainer.refused_settings import REFUSED, check_settings
from tests.tiny import tiny_model, tiny_tokenizer
from tests.trainer.test_distribution_trainer import examples

MOVES = {
    "per_device_train_batch_size": 2,
    "num_train_epochs": 2.0,
    "max_steps": 3,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "constant",
    "lr_scheduler_kwargs": {"power": 3.0},
    "warmup_steps": 2,
    "optim": "sgd",
    "optim_args": "momentum=0.9",
    "weight_decay": 0.5,
    "adam_beta1": 0.5,
    "adam_beta2": 0.5,
    "adam_epsilon": 1e-2,
    "gradient_accumulation_steps": 2,
    "max_grad_norm": 1e-3,
    "bf16": True,
    "seed": 7,
    "data_seed": 7,
    "dataloader_drop_last": True,
    "train_sampling_strategy": "sequential",
}
"""With such a value the adapter becomes another one."""
WITH = {
    "lr_scheduler_kwargs": {"lr_scheduler_type": "polynomial"},
    "num_train_epochs": {"max_steps": -1},
    "optim_args": {"optim": "sgd"},
    "dataloader_drop_last": {"max_steps": -1, "per_device_train_batch_size": 3},
    "dataloader_persistent_workers": {"dataloader_num_workers": 1},
    "dataloader_prefetch_factor": {"dataloader_num_workers": 1},
    "dataloader_multiprocessing_context": {"dataloader_num_workers": 1},
    "dataloader_in_order": {"dataloader_num_workers": 1},
    "activation_checkpointing_kwargs": {"activation_checkpointing": True},
    "gradient_checkpointing_kwargs": {"gradient_checkpointing": True},
}
"""What a setting needs beside it, in both runs."""
KEEPS = {
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": True},
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": True},
    "torch_empty_cache_steps": 1,
    "auto_find_batch_size": True,
    "dataloader_num_workers": 1,
    "dataloader_persistent_workers": True,
    "dataloader_prefetch_factor": 3,
    "dataloader_in_order": False,
    "dataloader_multiprocessing_context": "fork",
    "skip_memory_metrics": False,
    "run_name": "mine",
    "log_level": "error",
    "log_level_replica": "error",
    "save_only_model": True,
    "disable_tqdm": False,
    "do_train": True,
    "do_eval": True,
    "do_predict": True,
    "output_dir": "other",
    "logging_nan_inf_filter": True,
}
"""With such a value the adapter is the same to the bit."""
LINES = {
    "logging_strategy": ("no", 0),
    "logging_steps": (1, 4),
    "logging_first_step": (True, 2),
}
"""With such a value a run of four steps, logged every third, has so many lines with a loss."""
EVALUATIONS = {
    "eval_strategy": ("steps", 2),
    "eval_steps": (1, 4),
    "eval_delay": (3, 1),
    "eval_on_start": (True, 3),
    "per_device_eval_batch_size": (1, 2),
}
"""The same, evaluated every second step: so many lines with `eval_tvd`."""
CHECKPOINTS = {
    "save_strategy": ("steps", [2, 4]),
    "save_steps": (3, [3, 4]),
    "save_total_limit": (1, [4]),
    "load_best_model_at_end": (True, [2, 4]),
    "metric_for_best_model": ("eval_tvd", [2, 4]),
    "greater_is_better": (False, [2, 4]),
}
"""The same, saved every second step: the steps of the checkpoints."""
THEIRS = {
    *("hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push"),
    *("push_to_hub", "hub_revision", "project", "trackio_space_id", "trackio_bucket_id"),
    *(
        "trackio_static_space_id",
        "report_to",
        "log_on_each_node",
        "save_on_each_node",
        "local_rank",
    ),
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_backend"),
    *("ddp_static_graph", "ddp_timeout", "accelerator_config", "fp16", "tf32", "debug"),
    *("fsdp", "fsdp_config"),
    *("dataloader_pin_memory", "optim_target_modules", "full_determinism", "use_cpu"),
    *("enable_jit_checkpoint", "restore_callback_states_from_checkpoint", "ignore_data_skip"),
}
"""Passed on as they are; of the hub, of several machines or GPUs, of processes as a whole."""


def run(folder, **given):
    settings = {"max_steps": 4, "per_device_train_batch_size": 4, "disable_tqdm": True}
    settings |= {"use_cpu": True, "save_strategy": "no", "learning_rate": 1e-2, "logging_steps": 3}
    rows = examples()
    trainer = DistributionTrainer(
        model=tiny_model("llama", num_hidden_layers=2),
        args=DistributionConfig(**({"output_dir": str(folder), **settings} | given)),
        processing_class=tiny_tokenizer(),
        peft_config=lora("all", rank=2),
        train_dataset=rows,
        eval_dataset=rows[:2] if given.get("eval_strategy") else None,
    )
    trainer.train()
    return trainer


def adapter(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return adapter(run(tmp_path_factory.mktemp("plain")))


def test_every_setting_is_in_one_of_the_tables():
    names = [field.name for field in fields(TrainingArguments) if field.init]
    tables = (MOVES, KEEPS, LINES, EVALUATIONS, CHECKPOINTS, THEIRS, REFUSED)
    listed = [name for table in tables for name in table]
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("name", MOVES)
def test_what_training_depends_on_does_something(name, plain, tmp_path):
    beside = WITH.get(name, {})
    other = adapter(run(tmp_path / "plain", **beside)) if beside else plain
    assert not torch.equal(adapter(run(tmp_path / "run", **beside, **{name: MOVES[name]})), other)


@pytest.mark.parametrize("name", KEEPS)
def test_what_training_does_not_depend_on_leaves_it_as_it_is(name, plain, tmp_path):
    value = str(tmp_path / "other") if name == "output_dir" else KEEPS[name]
    given = {"output_dir": str(tmp_path / "run"), **WITH.get(name, {}), name: value}
    assert torch.equal(adapter(run(tmp_path, **given)), plain)


@pytest.mark.parametrize("name", LINES)
def test_lines_are_logged_as_told(name, tmp_path):
    value, count = LINES[name]
    history = run(tmp_path, **{name: value}).state.log_history
    assert sum("loss" in line for line in history) == count


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_come_as_told(name, tmp_path):
    value, count = EVALUATIONS[name]
    given = {"eval_strategy": "steps", "eval_steps": 2, name: value}
    history = run(tmp_path, **given).state.log_history
    assert sum("eval_tvd" in line for line in history) == count


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_are_left_as_told(name, tmp_path):
    value, steps = CHECKPOINTS[name]
    given = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    run(tmp_path, **given | {name: value})
    found = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    assert found == steps


OTHERWISE = {
    "label_names": ["rows"],
    "length_column_name": "tokens",
    "include_num_input_tokens_seen": "all",
    "average_tokens_across_devices": False,
    "eval_do_concat_batches": False,
    "include_for_metrics": ["loss"],
    "eval_accumulation_steps": 2,
    "label_smoothing_factor": 0.1,
    "neftune_noise_alpha": 5.0,
    "liger_kernel_config": {"rope": True},
    "torch_compile_backend": "inductor",
    "torch_compile_mode": "default",
    "deepspeed": {"zero": 1},
    "parallelism_config": ParallelismConfig(),
    "resume_from_checkpoint": "checkpoint-3",
}
"""Values that aren't the default, where that isn't False."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_do_nothing_is_refused_by_name(name, tmp_path):
    with pytest.raises(ConfigError, match=f"(?s)^{name} is .*leave it out$"):
        DistributionConfig(output_dir=str(tmp_path), **{name: OTHERWISE.get(name, True)})


@pytest.mark.parametrize("name", ["split_batches", "dispatch_batches"])
def test_other_ways_to_deal_examples_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match=f"accelerator_config has {name}.*leave it out$"):
        DistributionConfig(output_dir=str(tmp_path), accelerator_config={name: True})


def test_fsdp_config_alone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="fsdp is off: set fsdp=True, or leave it out"):
        DistributionConfig(output_dir=str(tmp_path), fsdp_config={"version": 2})


def test_what_an_optimiser_does_not_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="adamw_torch_fused doesn't read: set adam_beta1"):
        DistributionConfig(output_dir=str(tmp_path), optim_args="eps=1e-2")
    with pytest.raises(ConfigError, match="read: peft_config says which weights learn"):
        DistributionConfig(output_dir=str(tmp_path), optim_target_modules="mlp")


@pytest.mark.parametrize(
    "off", [{"fsdp": ""}, {"neftune_noise_alpha": 0.0}, {"label_names": []}, {"use_cache": False}]
)
def test_what_is_switched_off_is_taken(off, tmp_path):
    assert DistributionConfig(output_dir=str(tmp_path), **off)


def test_an_optimiser_may_be_an_enum(tmp_path):
    given = {"output_dir": str(tmp_path), "optim_target_modules": "mlp"}
    config = DistributionConfig(optim=OptimizerNames.GALORE_ADAMW, **given)
    check_settings(config)  # once more, as of a config that is copied
    with pytest.raises(ConfigError, match="adamw_torch doesn't read"):
        DistributionConfig(str(tmp_path), optim=OptimizerNames.ADAMW_TORCH, optim_args="eps=1")


def test_grouping_by_length_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='give "random" or "sequential"'):
        DistributionConfig(output_dir=str(tmp_path), train_sampling_strategy="group_by_length")


@pytest.mark.parametrize("names", ["wandb", ["tensorboard", "wandb"]])
def test_a_logger_that_is_not_installed_is_refused_with_what_to_install(names, tmp_path):
    with pytest.raises(MissingExtraError, match=r'report_to is "wandb", .* pip install wandb'):
        DistributionConfig(output_dir=str(tmp_path), report_to=names)


def test_the_extra_of_tensorboard_is_named(tmp_path, monkeypatch):
    place = "distmatch.trainer.refused_settings.get_available_reporting_integrations"
    monkeypatch.setattr(place, lambda: [])
    with pytest.raises(MissingExtraError, match=r'pip install "distmatch\[tensorboard\]"'):
        DistributionConfig(output_dir=str(tmp_path), report_to="tensorboard")


def test_an_unknown_logger_names_the_known(tmp_path):
    with pytest.raises(ConfigError, match='Did you mean "wandb"'):
        DistributionConfig(output_dir=str(tmp_path), report_to="wandbb")


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is used")
def test_without_a_gpu_the_cpu_need_not_be_asked_for(tmp_path):
    assert DistributionConfig(output_dir=str(tmp_path), bf16=True).use_cpu
