"""`distmatch eval --models`, on tiny models."""

import shutil
from pathlib import Path

import pytest

from distmatch.cli import main
from distmatch.cli.model_lists import read_families
from tests.cli.small import refusal

ROOT = Path(__file__).parents[2]
FEW = ["given", "numbers", "given.per_group=1", "numbers.per_kind=1"]
MODELS = """
[[family]]
name = "tiny"
size = 0.1
base = "{base}"
instruct = "{instruct}"

[[family]]
name = "gone"
size = 7
instruct = "{folder}/nowhere"
"""


def test_a_list_of_models_is_measured_and_goes_on_where_one_fails(model, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(model, base)
    (base / "chat_template.jinja").unlink()
    listed = tmp_path / "models.toml"
    listed.write_text(MODELS.format(base=base, instruct=model, folder=tmp_path), encoding="utf-8")
    out = tmp_path / "out"
    argv = ["eval", "--models", str(listed), "--suite", *FEW, "--out", str(out)]
    assert main(argv) == 2
    told = capsys.readouterr()
    assert "1 models could not be measured:\ngone, instruct: " in told.err
    table = (out / "models.txt").read_text(encoding="utf-8")
    assert table in told.out
    kinds = [line.split("0.1B")[-1].split()[0] for line in table.splitlines()[2:4]]
    assert kinds == ["base", "instruct"] and "base - instruct" in table
    assert {path.name for path in out.iterdir()} == {
        *("tiny-base", "tiny-instruct", "models.txt", "given-tvd.png", "given-control_tvd.png"),
        *("numbers-tvd.png", "numbers-control_tvd.png"),
    }
    assert main(argv) == 2
    told = capsys.readouterr().out
    assert table in told and told.count(", measured before\n") == 4
    # The base model, without a template, isn't asked for words that only a template ends
    folders = [str(out / f"tiny-{kind}") for kind in ("base", "instruct")]
    assert main(["compare", *folders]) == 0
    assert "items that all were asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no models"),
        ('[model]\nname = "x"', r"holds ['model']"),
        ('[[family]]\nname = "x"\nsize = 1', 'neither "base" nor "instruct"'),
        ('[[family]]\nname = "x"\nbase = "y"', '[family 1] has no "size"'),
        ('[[family]]\nname = "x"\nsize = 1\nbase = "y"\nchat = "z"', 'key of [family 1] "chat"'),
        ('[[family]]\nname = "x"\nsize = 0\nbase = "y"', "expected billions"),
        ('[[family]]\nname = "x"\nsize = 1\nbase = "y"\n' * 2, "two families"),
        ("family = ", "is not TOML"),
    ],
)
def test_a_model_list_that_cannot_be_used_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    argv = ["eval", "--models", tmp_path / "models.toml", "--suite", "given", "--out", "x"]
    assert message in refusal(capsys, *argv)


def test_the_studys_list_can_be_read():
    families = read_families(ROOT / "examples" / "models.toml")
    assert [list(family.choices) for family in families] == [["base", "instruct"]] * 6 + [
        ["instruct"]
    ]
