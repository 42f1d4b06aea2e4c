"""A sweep's lines of results."""

import errno
import json
import os
import resource
import signal
from dataclasses import asdict, replace

import pytest

from distmatch.sweeps.cells import Cell
from distmatch.sweeps.results import Measures, Result, Training, append_result, read_results
from distmatch.sweeps.sets import Sets
from tests.sweeps.processes import in_child

METRICS = Sets.from_named({"main": {"tvd": {"mean": 0.5}}})
TRAINING = Training(steps=3, train_seconds=1.5, peak_memory_gb=2.5, flops=1e9)


def failure(block, reason="diverged"):
    """What came of a cell of one block that failed before its end."""
    cell = Cell("mlp", str(block), 0, 2, 0.1, block, 9)
    made = {"config_hash": "0", "versions": {"distmatch": "1"}, "device": "CPU"}
    return Result(cell=cell, **made, failed=reason)


def measured(block, kl=0.1, **given):
    measures = Measures(metrics=METRICS, kl=kl)
    told = {"training": TRAINING, "measures": measures, "seconds": 2.0, "failed": None}
    return replace(failure(block), **(told | given))


def line(block, **given):
    """What its line says, with keys changed; None takes one out."""
    content = measured(block).to_json() | given
    return json.dumps({key: value for key, value in content.items() if value is not None}).encode()


ROW, OTHER, FAILED = measured(1), measured(0), failure(1)


def lines(folder):
    return (folder / "results.jsonl").read_bytes()


def test_a_line_begins_with_its_cell_and_has_only_what_there_is():
    cell = {"cell": "mlp@1-rank2-lr0.1-seed0"} | asdict(ROW.cell)
    made = {"config_hash": "0", "versions": {"distmatch": "1"}, "device": "CPU"}
    took = {"steps": 3, "train_seconds": 1.5, "peak_memory_gb": 2.5, "flops": 1e9}
    told = {"metrics": {"main": {"tvd": {"mean": 0.5}}}, "kl": 0.1, "seconds": 2.0}
    assert list(ROW.to_json().items()) == list((cell | made | took | told).items())
    assert FAILED.to_json() == cell | made | {"failed": "diverged"}


@pytest.mark.parametrize("given", [ROW, FAILED, replace(FAILED, training=TRAINING)])
def test_a_result_comes_back_from_its_line(given):
    assert Result.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_what_was_appended_is_read(tmp_path):
    rows = [*(measured(n, kl=n / 3) for n in range(3)), failure(3)]
    for row in rows:
        append_result(tmp_path, row)
    assert read_results(tmp_path) == ({row.cell.name: row for row in rows}, [])


def test_an_empty_folder_has_no_results(tmp_path):
    assert read_results(tmp_path) == ({}, [])


def test_of_two_results_the_first_that_did_not_fail_counts_and_no_other_is_added(tmp_path):
    append_result(tmp_path, FAILED)
    assert read_results(tmp_path)[0] == {FAILED.cell.name: FAILED}
    append_result(tmp_path, ROW)
    append_result(tmp_path, measured(1, kl=2.0))
    append_result(tmp_path, FAILED)
    assert read_results(tmp_path)[0] == {ROW.cell.name: ROW}
    assert len(lines(tmp_path).splitlines()) == 2


@pytest.mark.parametrize(
    "bad",
    [
        b'{"cell": "mlp@0", "metr',
        b"\xff\xfe",
        b"[1, 2]",
        b'"cell"',
        b"17",
        b'{"metrics": {}}',
        b'{"cell": "mlp@0"}',
        b'{"cell": "mlp@0", "failed": "diverged"}',
        line(2, metrics=None),
        line(2, kl=None),
        line(2, flops=None),
        line(2, metrics={}),
        line(2, metrics=[]),
        line(2, metrics="main"),
        line(2, metrics={"tuning": {}}),
        line(2, versions=None),
        line(2, cell=["mlp@2"]),
        line(2, cell=ROW.cell.name),  # another cell's name
    ],
)
def test_a_bad_line_is_passed_over_with_its_number_and_stays(tmp_path, bad):
    append_result(tmp_path, OTHER)
    before = lines(tmp_path) + bad
    (tmp_path / "results.jsonl").write_bytes(before)  # cut off before its end
    append_result(tmp_path, ROW)
    found, wrong = read_results(tmp_path)
    assert list(found) == [OTHER.cell.name, ROW.cell.name]
    assert [sentence.split(" ")[0] for sentence in wrong] == [f"{tmp_path / 'results.jsonl'}:2"]
    assert lines(tmp_path) == before + b"\n" + json.dumps(ROW.to_json()).encode() + b"\n"


def test_what_is_not_a_number_is_no_result(tmp_path):
    append_result(tmp_path, ROW)
    before = lines(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_result(tmp_path, measured(1, kl=float("nan")))
    assert lines(tmp_path) == before


def test_a_disk_that_fills_up_leaves_the_file_as_it_was(tmp_path):
    append_result(tmp_path, ROW)
    before = lines(tmp_path)

    def append_to_a_full_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write over the limit is then an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10,) * 2)
        try:
            append_result(tmp_path, OTHER)
        except OSError as error:
            return error.errno == errno.EFBIG

    assert in_child(append_to_a_full_disk)
    assert lines(tmp_path) == before
    append_result(tmp_path, OTHER)
    assert list(read_results(tmp_path)[0]) == [ROW.cell.name, OTHER.cell.name]


def test_lines_of_several_processes_stay_whole(tmp_path):
    children = []
    for number in range(4):
        children.append(os.fork())
        if not children[-1]:
            for count in range(25):
                append_result(tmp_path, failure(100 * number + count, "y" * 999))
            os._exit(0)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    found, wrong = read_results(tmp_path)
    assert len(found) == 100
    assert wrong == []
