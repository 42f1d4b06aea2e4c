"""The README's code runs as it stands, but for fewer steps and examples."""

import re
from itertools import takewhile
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
SHORTER = {"n=320": "n=16", "n_test=50": "n_test=4", "max_steps=20": "max_steps=1"}


@pytest.mark.embedded
def test_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL))
    for given, shorter in SHORTER.items():
        assert given in code
        code = code.replace(given, shorter)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    total = names["scores"].log_probs.exp().sum() + names["scores"].log_other.exp()
    assert float(total) == pytest.approx(1, abs=2e-6)
    assert (tmp_path / "runs/readme/calibration.png").stat().st_size > 2_000


def test_every_file_the_readme_draws_exists():
    tree = README.read_text().split("## Where things are")[1].split("```")[1]
    inside: list[str] = []
    for line in tree.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = list(takewhile(lambda word: word.endswith((".py", "/")), line.split()))
        assert names, line
        for name in names:
            inside = [*inside[:depth], name]
            path = README.parent / "".join(
                part for part in inside if part.endswith("/") or part == name
            )
            assert path.exists(), path
