"""An adapter taken apart on a tiny model, against whole forwards of what is left of it."""

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from peft import PeftModel

import distmatch as dm
from distmatch.anatomy import Part, Place, TakenApart, take_apart
from distmatch.anatomy.page import apart_page
from distmatch.anatomy.parts import ONLY, WITHOUT, LoraPlaces
from distmatch.anatomy.taking import read_apart
from distmatch.cli import main
from distmatch.cli.anatomy import trained_alone
from distmatch.data import write_jsonl
from distmatch.errors import ConfigError
from distmatch.evals import LocalModel, OwnExamples, measure
from distmatch.measuring.intervals import Interval
from distmatch.models.blocks import adaptable_sites
from distmatch.models.choice import ModelChoice
from distmatch.models.trunk import Trunk
from tests.tiny import randomise_adapter, tiny_model, tiny_tokenizer

ROWS = [
    dm.Example(
        prompt=[{"role": "user", "content": f"Say red ({p}%) or blue."}],
        target=dm.WordDistribution(("red", "blue"), (p / 100, 1 - p / 100)),
    )
    for p in (10, 40, 80)
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, and an adapter of all its blocks."""
    folder = tmp_path_factory.mktemp("saved")
    model, tokenizer = tiny_model("llama", num_hidden_layers=3), tiny_tokenizer()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    loaded, _ = dm.load_model(str(folder / "model"))
    adapted = dm.attach_lora(loaded, dm.lora("all", rank=2), seed=0)
    randomise_adapter(adapted, 0.2)
    adapted.save_pretrained(folder / "adapter")
    write_jsonl(folder / "rows.jsonl", ROWS)
    return folder


@pytest.fixture(scope="module")
def apart(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    raised = []
    with pytest.MonkeyPatch.context() as patch:
        own = Trunk.raise_to
        patch.setattr(Trunk, "raise_to", lambda t, block: (raised.append(block), own(t, block))[1])
        found = take_apart(
            str(saved / "model"), saved / "adapter", ROWS, folder, factors=(0, 2), progress=False
        )
    return folder, found, raised


@pytest.mark.parametrize("kind", [ONLY, WITHOUT])
def test_states_kept_below_a_place_give_what_whole_forwards_give(saved, apart, kind):
    _, found, raised = apart
    assert set(raised) == {1, 2}
    model, tokenizer = dm.load_model(str(saved / "model"))
    sites = adaptable_sites(model)
    adapted: PeftModel = dm.load_adapter(model, saved / "adapter")
    part = Part(kind, Place(2, "mlp"))
    with LoraPlaces(adapted, sites).scaled(part.factor):
        subject = LocalModel(model=adapted, tokenizer=tokenizer, progress=False)
        whole = measure(subject, OwnExamples(rows=ROWS))
    for one, other in zip(found.reports[part.name].rows(), whole.rows(), strict=True):
        assert one["given"] == pytest.approx(other["given"], abs=2e-6)


def test_a_model_in_bfloat16_is_taken_apart_within_its_precision(saved, apart, tmp_path):
    _, found, _ = apart
    model = ModelChoice(name=str(saved / "model"), dtype="bfloat16")
    again = take_apart(model, saved / "adapter", ROWS, tmp_path, factors=(0, 2), progress=False)
    for name, report in found.reports.items():
        wanted = report.metrics["control_tvd"].mean
        assert again.reports[name].metrics["control_tvd"].mean == pytest.approx(wanted, abs=0.02)


def test_gained_and_lost_are_paired_differences_of_control(apart):
    _, found, _ = apart
    place = Place(1, "attention")
    distance = {name: report.metrics["control_tvd"].mean for name, report in found.reports.items()}
    assert found.gained(place).mean == pytest.approx(
        distance["none"] - distance["only attention@1"]
    )
    assert found.lost(place).mean == pytest.approx(
        distance["without attention@1"] - distance["all"]
    )
    assert distance["times 0"] == pytest.approx(distance["none"])
    assert distance["times 2"] != pytest.approx(distance["all"])
    assert len(found.places) == 6
    assert "attention@1" in str(found)


def test_in_a_notebook_it_shows_both_tables_and_the_maps(apart):
    _, found, _ = apart
    shown = found._repr_html_()
    assert shown.count("<table>") == 2
    assert all(f">{found.gained(place)}</td>" in shown for place in found.places)
    assert shown.count("data:image/png;base64,") == 1


def test_started_again_it_measures_what_is_missing_alone(saved, apart, tmp_path, monkeypatch):
    folder, found, _ = apart
    copied = shutil.copytree(folder, tmp_path / "apart")
    shutil.rmtree(copied / "parts" / "only mlp@1")
    asked = []
    own = LocalModel.answers
    monkeypatch.setattr(
        LocalModel, "answers", lambda s, e, name: (asked.append(name), own(s, e, name))[1]
    )
    again = take_apart(
        str(saved / "model"), saved / "adapter", ROWS, copied, factors=(0, 2), progress=False
    )
    assert len(asked) == 1
    assert str(again) == str(found) == (copied / "table.txt").read_text().rstrip("\n")
    with pytest.raises(ConfigError, match=r"was measured with .*rows"):
        take_apart(str(saved / "model"), saved / "adapter", ROWS[:2], copied, progress=False)


def test_the_command_draws_maps_and_a_curve(saved, apart, tmp_path, capsys):
    copied = shutil.copytree(apart[0], tmp_path / "apart")
    arguments = ["--adapter", str(saved / "adapter"), "--data", str(saved / "rows.jsonl")]
    assert main(["apart", str(saved / "model"), *arguments, "--out", str(copied)]) == 0
    told = capsys.readouterr().out
    assert "by itself, above the base" in told
    assert (copied / "places.png").is_file()
    assert (copied / "times.png").is_file()
    assert "lost without" in (copied / "report.html").read_text()


def test_the_page_is_written_again_of_what_is_kept_and_its_places_tell_all(apart, tmp_path, capsys):
    folder, found, _ = apart
    copied = shutil.copytree(folder, tmp_path / "apart")
    assert str(read_apart(copied)) == str(found)
    page = apart_page("apart", read_apart(copied), {Place(1, "mlp"): 0.5})
    layers, items, times = page.views
    assert list(layers.maps) == ["trained alone", "kept alone", "lost without"]
    place = next(one for one in layers.places if (one.row, one.column) == ("1", "mlp"))
    assert place.values == {
        "trained alone": 0.5,
        "kept alone": found.gained(Place(1, "mlp")).mean,
        "lost without": found.lost(Place(1, "mlp")).mean,
    }
    assert len(items.items) == len(ROWS) and items.series == ["base", "whole adapter"]
    assert [row[0] for row in times.rows] == [0, 2]
    assert main(["report", str(copied)]) == 0
    assert capsys.readouterr().out == f"wrote {copied / 'report.html'}\n"
    (copied / "table.txt").unlink()
    assert main(["report", str(copied)]) == 2
    assert "no adapter taken apart to the end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"every": 0}, "every is 0"),
        ({"factors": (-1.0,)}, "factors has -1.0"),
        ({"rows": [{"prompt": "x", "words": ["a"], "probs": [1.0]}]}, "no example has two words"),
    ],
)
def test_what_can_not_be_taken_apart_is_refused_before_a_model_is_loaded(
    saved, tmp_path, change, told, monkeypatch
):
    monkeypatch.setattr("distmatch.models.choice.ModelChoice.load", None)
    given = {"rows": ROWS} | change
    with pytest.raises(ConfigError, match=told):
        take_apart(str(saved / "model"), saved / "adapter", out=tmp_path, **given)


def test_a_sweeps_single_blocks_are_places_with_their_control_above_the_base(monkeypatch):
    control = Interval(0.25, 0.2, 0.3)
    found = [
        SimpleNamespace(is_single=True, blocks="12", site="mlp", control=control),
        SimpleNamespace(is_single=False, blocks="0-29", site="all", control=control),
    ]
    of_base = {"policy_tvd": {"mean": 0.25}, "control_tvd": {"mean": 0.375}}
    swept = SimpleNamespace(chosen=found, base=SimpleNamespace(learned=of_base))
    monkeypatch.setattr("distmatch.cli.anatomy.read_sweep", lambda folder: swept)
    assert trained_alone("runs/sweep") == {Place(12, "mlp"): 0.375}


def test_places_whose_interval_holds_0_are_faint(apart, tmp_path, monkeypatch):
    _, found, _ = apart
    drawn = []
    monkeypatch.setattr("distmatch.plots.layer_maps", lambda *maps, **more: drawn.append(more))
    monkeypatch.setattr(
        TakenApart, "gained", lambda _, place: Interval(0.1, 0.1 * place.block - 0.1, 0.2)
    )
    monkeypatch.setattr(TakenApart, "lost", lambda _, place: Interval(-0.1, -0.2, -0.05))
    found.draw(tmp_path)
    faint = drawn[0]["faint"]
    blocks = sorted({place.block for place in found.places})
    assert faint["kept alone"][:, 0].tolist() == [block < 2 for block in blocks]
    assert not faint["lost without"].any()
    monkeypatch.setattr(TakenApart, "lost", lambda _, place: Interval(0.1, math.nan, math.nan))
    found.draw(tmp_path)
    assert drawn[-1]["faint"]["lost without"].all()


def test_what_was_trained_alone_is_drawn_beside(apart, tmp_path, monkeypatch):
    _, found, _ = apart
    drawn = []
    monkeypatch.setattr(
        "distmatch.plots.layer_maps", lambda maps, *_, **__: drawn.append(maps["trained alone"])
    )
    found.draw(tmp_path, trained={Place(1, "mlp"): 0.25})
    (field,) = drawn
    assert field[1].tolist()[1] == 0.25
    assert np.isnan(field).sum() == field.size - 1


def test_where_states_can_not_be_kept_every_forward_is_whole(saved, apart, tmp_path, monkeypatch):
    _, found, _ = apart
    told = []

    def refuse(_trunk, block):
        raise ConfigError(f"no tree for block {block}")

    monkeypatch.setattr(Trunk, "raise_to", refuse)
    monkeypatch.setattr("distmatch.anatomy.taking.say", told.append)
    again = take_apart(
        str(saved / "model"), saved / "adapter", ROWS, tmp_path, factors=(0, 2), progress=False
    )
    assert told == ["no tree for block 1; every forward runs all blocks"]
    for name, report in found.reports.items():
        wanted = report.metrics["control_tvd"].mean
        assert again.reports[name].metrics["control_tvd"].mean == pytest.approx(wanted, abs=1e-5)


def test_states_that_give_something_else_than_whole_forwards_are_not_used(
    saved, tmp_path, monkeypatch
):
    monkeypatch.setattr("distmatch.anatomy.taking.most_apart", lambda _dtype: 0.0)
    with pytest.raises(ConfigError, match="logits by kept states differ from whole forwards' by"):
        take_apart(str(saved / "model"), saved / "adapter", ROWS, tmp_path, progress=False)
