"""What is switched off changes the cost of a step, not its loss."""

import pytest
from techniques import Bench, Kind, kinds_of_all, kinds_of_late

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


@pytest.mark.parametrize(
    ("expression", "kinds"), [("all", kinds_of_all), ("all@-1", kinds_of_late)]
)
def test_every_ablation_has_the_loss_of_the_whole_step(expression, kinds):
    bench = Bench("smollm2-135m", "cpu", expression, None, tiny=True)
    whole = {size: bench.loss(Kind(size=size)).item() for size in bench.tries}
    losses = {kind: bench.step(kind) for kind in kinds(bench)}
    wanted = {kind: pytest.approx(whole[kind.size], rel=1e-5) for kind in losses}
    assert losses == wanted  # the texts add nothing: no weight has moved


def test_operations_and_times_are_of_the_same_kinds():
    bench = Bench("smollm2-135m", "cpu", "all@-1", None, tiny=True)
    kept, without = bench.rows(kinds_of_late(bench), steps=1)
    assert kept["step"] == "with LoRA on the last block alone"
    assert without["step"] == f"{kept['step']}, without kept states below"
    assert kept["operations"] < without["operations"]
