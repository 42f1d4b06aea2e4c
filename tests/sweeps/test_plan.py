"""What a sweep is to do, checked before there are weights."""

import pytest
import torch

from distmatch.errors import ConfigError
from distmatch.models.footprint import empty_model
from distmatch.sweeps import Grid
from distmatch.sweeps.plan import Plan
from tests.sweeps.small import GRID, examples, settings
from tests.tiny import tiny_model


def plan(folder, model=None, **given):
    return Plan.of(
        tiny_model("llama") if model is None else model,
        train_dataset=examples(),
        eval_datasets={"main": examples(4), "far": examples(3, say="Write")},
        args=settings(folder),
        **({"grid": GRID} | given),
    )


@pytest.mark.parametrize(("family", "site"), [("llama", "mlp"), ("gpt_oss", "experts")])
def test_a_model_without_weights_has_the_same_cells(tmp_path, family, site):
    model = tiny_model(family)
    empty = empty_model(model.config, None, torch.float32)
    grid = Grid(sites=("attention", site), match=("rank", "parameters"))
    assert plan(tmp_path, empty, grid=grid).cells == plan(tmp_path, model, grid=grid).cells


def test_sets_have_their_roles_and_nothing_is_made(tmp_path):
    made = plan(tmp_path / "new", tuning_dataset=examples(2, say="Tell"))
    assert made.sets.learned_name == "main" and list(made.sets.transfer) == ["far"]
    assert [row.rotations for row in made.sets.tuning] == [(), ()]
    assert not (tmp_path / "new").exists()


def test_it_tells_what_is_to_be_done(tmp_path):
    assert str(plan(tmp_path)).startswith("5 cells of ")
    assert str(plan(tmp_path)).endswith(f"rate 0.01, in {tmp_path}; 0 of them are finished")


def test_a_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="an adapter of another run: choose another output_dir"):
        plan(tmp_path)
