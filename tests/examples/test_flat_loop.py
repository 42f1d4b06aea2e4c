"""The flat loop is the trainer: the same losses from the same seed, by other code."""

import importlib.util
from pathlib import Path

import pytest

import distmatch as dm
from tests.tiny import tiny_model, tiny_tokenizer

FLAT = Path(__file__).parents[2] / "examples" / "flat_loop.py"


def flat_loop():
    spec = importlib.util.spec_from_file_location("flat_loop", FLAT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_flat_loop_and_the_trainer_give_the_same_losses(tmp_path):
    train, _ = dm.data.output_control(n=24, words=(2, 3), n_test=1)
    model = dm.attach_lora(tiny_model("llama"), dm.lora("all", rank=4), seed=3)
    flat = list(
        flat_loop().training(model, tiny_tokenizer(), train, batch_size=4, learning_rate=1e-2)
    )
    args = dm.DistributionConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        max_steps=6,
        learning_rate=1e-2,
        logging_steps=1,
        seed=3,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        train_sampling_strategy="sequential",
    )
    trainer = dm.DistributionTrainer(
        model=tiny_model("llama"),
        args=args,
        processing_class=tiny_tokenizer(),
        peft_config=dm.lora("all", rank=4),
        train_dataset=train,
    )
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert logged == pytest.approx(flat, rel=1e-4)
    assert flat[-1] < flat[0]
