"""What a run says of itself."""

from functools import partial

import pytest
from peft import LoraConfig

from distmatch.errors import ConfigError
from distmatch.evals.suites import OwnExamples
from distmatch.losses import jensen_shannon
from tests.runs.small import TEST, small_run


@pytest.mark.parametrize("given", [{}, {"lora": None, "adapter": None}])
def test_it_takes_a_new_adapter_or_one_to_begin_with(given, saved_model, tmp_path):
    both = {"adapter": tmp_path} | given
    with pytest.raises(ConfigError, match="either lora, for a new adapter, or adapter"):
        small_run(saved_model, tmp_path, **both)


def test_no_two_suites_have_one_name(saved_model, tmp_path):
    with pytest.raises(ConfigError, match='two suites are called "examples"'):
        small_run(saved_model, tmp_path, suites=[OwnExamples(rows=TEST), OwnExamples(rows=TEST)])


def test_its_record_is_the_same_wherever_it_goes(saved_model, tmp_path):
    one, other = (small_run(saved_model, tmp_path / name).record() for name in "ab")
    assert one == other


def test_functions_and_peft_settings_are_a_part_of_the_record(saved_model, tmp_path):
    loss = partial(jensen_shannon, beta=0.25)
    peft = LoraConfig(r=2, target_modules={"v_proj", "q_proj"}, task_type="CAUSAL_LM")
    run = small_run(saved_model, tmp_path, told={"loss": loss}, lora=peft)
    record = run.record()
    name = "distmatch.losses.divergences.jensen_shannon"
    assert record["train"]["loss"] == [name, [], {"beta": 0.25}]
    assert record["lora"]["target_modules"] == ["q_proj", "v_proj"]
