"""What is logged: of all steps since the last line, also across a resume, and at least once."""

import pytest

from distmatch.errors import ConfigError, LoadError
from tests.trainer.test_distribution_trainer import trainer


def trainer_by_step(folder, given):
    run = trainer(folder, **given | {"logging_steps": 1})
    run.train()
    return lines(run)


def lines(run):
    return [line for line in run.state.log_history if "loss" in line]


@pytest.mark.parametrize("every", [4, 5])
def test_a_resumed_run_logs_what_the_uninterrupted_one_does(tmp_path, every):
    given = {"logging_steps": every, "lr_scheduler_type": "constant", "max_steps": 10}
    given |= {"save_strategy": "steps", "save_steps": 3}
    straight = trainer(tmp_path / "a", **given)
    straight.train()
    trainer(tmp_path / "b", **given | {"max_steps": 6}).train()
    resumed = trainer(tmp_path / "b", **given)
    resumed.train(resume_from_checkpoint=True)
    assert lines(resumed) == lines(straight)
    (told,) = (line for line in resumed.state.log_history if "train_loss" in line)
    steps = [line["loss"] for line in trainer_by_step(tmp_path / "c", given)[6:]]
    assert told["train_loss"] == pytest.approx(sum(steps) / len(steps), rel=1e-4)


def test_a_checkpoint_without_sums_counts_from_there(tmp_path):
    given = {"logging_steps": 4, "save_strategy": "steps", "save_steps": 3}
    trainer(tmp_path, **given, max_steps=3).train()
    (tmp_path / "checkpoint-3" / "logged.json").unlink()
    resumed = trainer(tmp_path, **given, max_steps=6)
    resumed.train(resume_from_checkpoint=True)
    assert [line["step"] for line in lines(resumed)] == [3, 4]


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_a_run_shorter_than_an_interval_logs_its_end(tmp_path, strategy):
    run = trainer(tmp_path, logging_steps=10, logging_strategy=strategy, max_steps=3)
    run.train()
    told = lines(run)
    assert told[-1]["step"] == 3 and len(told) == 1 + (strategy == "epoch")


def test_a_run_that_is_to_log_nothing_does_not(tmp_path):
    run = trainer(tmp_path, logging_strategy="no", max_steps=3)
    run.train()
    assert lines(run) == []


def test_a_checkpoint_from_which_nothing_goes_on_as_it_was_is_refused(tmp_path):
    given = {"save_strategy": "steps", "save_steps": 2}
    trainer(tmp_path / "a", **given, max_steps=2, save_only_model=True).train()
    with pytest.raises(ConfigError, match=r"checkpoint-2 holds no optimiser \(save_only_model\)"):
        trainer(tmp_path / "a", **given, max_steps=4).train(resume_from_checkpoint=True)
    trainer(tmp_path / "b", **given, max_steps=2).train()
    adapter = tmp_path / "b" / "checkpoint-2" / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-9])
    with pytest.raises(LoadError, match=r"adapter_model\.safetensors is corrupt or cut short"):
        trainer(tmp_path / "b", **given, max_steps=4).train(resume_from_checkpoint=True)
