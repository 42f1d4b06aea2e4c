"""Which folder a run goes on from."""

import pytest

from distmatch.trainer import last_checkpoint

STATE = "trainer_state.json"


def leave(folder, name, state="{}"):
    (folder / name).mkdir()
    (folder / name / STATE).write_text(state, encoding="utf-8")


def test_the_last_checkpoint_is_that_of_the_most_steps(tmp_path):
    assert last_checkpoint(tmp_path / "nowhere") is None and last_checkpoint(tmp_path) is None
    for name in ("checkpoint-90", "checkpoint-1000", "checkpoint-200"):
        leave(tmp_path, name)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-1000"


@pytest.mark.parametrize(
    "name",
    [
        *("checkpoint-100-good", "checkpoint-best", "checkpoint-", "checkpoint-300.bak"),
        *("checkpoint--5", "checkpoint-+300", "checkpoint- 300", "checkpoint-3_00"),
        *(
            "checkpoint-٣٠٠",
            "checkpoint-³",
            "checkpoint-0300",
            "checkpoint-3e2",
            "my-checkpoint-300",
        ),
    ],
)
def test_what_the_trainer_would_not_call_so_is_no_checkpoint(tmp_path, name):
    leave(tmp_path, name)
    assert last_checkpoint(tmp_path) is None
    leave(tmp_path, "checkpoint-100")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_nor_is_what_is_unfinished_or_a_file(tmp_path):
    leave(tmp_path, "checkpoint-100")
    leave(tmp_path, "checkpoint-200", state='{"half": ')
    (tmp_path / "checkpoint-300").mkdir()
    (tmp_path / "checkpoint-400").write_text("{}")
    (tmp_path / "checkpoint-500" / STATE).mkdir(parents=True)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
