"""A sweep whose findings are made up, and what it says of them."""

from distmatch.sweeps import Sweep
from distmatch.sweeps.sets import Sets
from tests.sweeps.small import SCORES, finding


def base(other=0.9, policy_tvd=0.25, control_tvd=0.375, slope=0.125):
    values = {"other": other, "policy_tvd": policy_tvd, "control_tvd": control_tvd, "slope": slope}
    return {name: {"mean": value} for name, value in values.items()}


BASE = Sets.from_named({"main": base(), "far": base(control_tvd=0.5)})
FOUND = [
    finding("all", "0-3", 0.2),
    finding("attention", "1", 0.15),
    finding("mlp", "0", 0.1, parameters=2000),
    finding("attention", "0", 0.05),
    finding("mlp", "0", 0.04, rank=8, parameters=1010),
    finding("mlp", "1", -0.01, parameters=2000),
    finding("attention", "0-1", 0.1),
    finding("attention", "2-3", 0.12),
    finding("attention", "0-3", 0.18),
]
MLPS = ["mlp@1", "mlp@2"]
TRIED = [
    finding("mlp", "1", 0.3, learning_rate=1e-2, chosen=False, tuning=0.1),
    finding("all", "0-3", 0.25),
    finding("mlp", "1", 0.2, learning_rate=3e-4, tuning=0.2),
    finding("mlp", "1", 0.1, chosen=False, tuning=0.15),
    finding("mlp", "2", 0.05),
]


def swept(folder, found=FOUND, scores=SCORES, base=BASE, failed=None, passed_over=()):
    return Sweep(
        folder=folder,
        findings=list(found),
        base=base,
        scores=scores,
        failed=failed or {},
        passed_over=passed_over,
    )


def table_row(text, name, column=0):
    """The cells of the first such row, by header."""
    lines = text.splitlines()
    header = lines[0]
    starts = [i for i, c in enumerate(header) if c != " " and header[max(i - 2, 0) : i].isspace()]
    starts = [0, *starts]
    line = next(line for line in lines if line.startswith(name))
    ends = [*starts[1:], None]
    return {header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}
