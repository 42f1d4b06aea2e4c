"""Run files, as they are read."""

import pytest

from distmatch.cli.run_files import read_run, read_sweep_run
from distmatch.errors import ConfigError
from tests.cli.small import run_file, write_changed


@pytest.mark.parametrize(
    ("section", "table"),
    [
        ("measure", {"suites": ["given"]}),
        ("retention", {"path": "texts.jsonl", "weight": 0.5}),
    ],
)
def test_a_sweep_takes_no_section_of_a_run(section, table, tmp_path):
    path = write_changed(tmp_path / "sweep.toml", {"model": {"name": "m"}}, {section: table})
    told = rf"\[{section.partition('.')[0]}\] is for distmatch train: a sweep measures"
    with pytest.raises(ConfigError, match=told):
        read_sweep_run(path)


def test_a_sweep_takes_no_texts(tmp_path):
    tables = {"model": {"name": "m"}, "data": {"task": "numbers"}, "sweep": {}}
    train = {"output_dir": "x", "retention_weight": 0.5}
    path = write_changed(tmp_path / "sweep.toml", tables, {"train": train})
    with pytest.raises(ConfigError, match=r"train.retention_weight is for distmatch train, with"):
        read_sweep_run(path)


def test_what_is_written_is_read_as_the_same(tmp_path):
    file = run_file(
        tmp_path,
        tmp_path,
        measure={"suites": ["ordinary", "given"]},
        retention={"path": "texts.jsonl", "weight": 2},
    )
    run = read_run(file, ["suite.given.per_group=3"])
    run.save(tmp_path / "again.toml")
    again = read_run(tmp_path / "again.toml")
    assert again.tables == run.tables
    assert again.suites == run.suites
    assert [suite.name for suite in run.suites] == ["ordinary", "given"]
    assert again.config.retention_weight == 2


BROAD = {"task": "broad_control", "n": 16, "n_test": 6, "narrow_first": True}


def test_rows_from_narrow_to_broad_are_kept_in_order(tmp_path):
    file = run_file(tmp_path, tmp_path, data=BROAD)
    run = read_run(file)
    run.save(tmp_path / "again.toml")
    for one in (run, read_run(tmp_path / "again.toml")):
        assert one.config.train_sampling_strategy == "sequential"
    assert read_run(file, ["data.narrow_first=false"]).config.train_sampling_strategy == "random"
    tables = {"model": {"name": "m"}, "data": BROAD, "train": {"output_dir": "x", "max_steps": 1}}
    sweep = read_sweep_run(write_changed(tmp_path / "sweep.toml", tables, {}))
    assert sweep.config.train_sampling_strategy == "sequential"


def test_an_order_that_is_undone_is_refused(tmp_path):
    file = run_file(tmp_path, tmp_path, data=BROAD)
    with pytest.raises(
        ConfigError, match=r'is "random", which undoes .* data\.narrow_first: leave'
    ):
        read_run(file, ["train.train_sampling_strategy=random"])
