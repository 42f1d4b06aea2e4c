"""What is switched off changes the cost of a step, not its loss."""

import pytest
import torch
from techniques import Bench, Kind, a_pack_each, kinds_of_all, kinds_of_late

from distmatch.data.batching import make_batch

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize(
    ("expression", "kinds"), [("all", kinds_of_all), ("all@-1", kinds_of_late)]
)
def test_every_ablation_has_the_loss_of_the_whole_step(expression, kinds, precision):
    bench = Bench("smollm2-135m", "cpu", expression, precision, tiny=True)
    whole = {size: bench.loss(Kind(size=size)).item() for size in bench.tries}
    losses = {kind: bench.step(kind) for kind in kinds(bench)}
    near = 1e-5 if precision is None else 3e-3
    wanted = {kind: pytest.approx(whole[kind.size], rel=near) for kind in losses}
    assert losses == wanted  # the texts add nothing: no weight has moved


def test_nothing_is_shared_where_a_pack_holds_one_thing_alone():
    bench = Bench("smollm2-135m", "cpu", "all", None, tiny=True)
    tries = bench.tries["200 tokens shared"]
    with a_pack_each():
        assert make_batch(tries, bench.encoder).ids.shape == (8, 264)
    assert make_batch(tries, bench.encoder).ids.shape == (1, 670)


def test_what_is_measured_without_cast_matrices_keeps_none():
    bench = Bench("smollm2-135m", "cpu", "all", torch.bfloat16, tiny=True)
    cast = bench.cast
    with bench.nothing_kept_in_vain(Kind()):
        assert bench.cast is cast
    without = Kind(off=("casting once",))
    with bench.nothing_kept_in_vain(without):
        assert bench.cast is None
        loss = bench.step(without)
    assert bench.cast is not None
    assert bench.step(Kind()) == pytest.approx(loss, rel=3e-3)


def test_operations_and_times_are_of_the_same_kinds():
    bench = Bench("smollm2-135m", "cpu", "all@-1", None, tiny=True)
    kept, without = bench.rows(kinds_of_late(bench), steps=1)
    assert kept["step"] == "with LoRA on the last block alone"
    assert without["step"] == f"{kept['step']}, without kept states below"
    assert kept["operations"] < without["operations"]
