"""An experiment in one place each: two maps, and none of reports where nothing is reported."""

import math
import shutil
from dataclasses import replace

import pytest

from distmatch.cli import main
from distmatch.errors import ConfigError, TargetingError
from distmatch.experiments import map_experiment
from distmatch.experiments.page import places_page
from distmatch.experiments.places import AtPlace, _copy_texts, behaviour_of
from distmatch.experiments.units import UnitRuns
from distmatch.experiments.verdict import REPORTS
from distmatch.measuring.intervals import Interval
from distmatch.sweeps import Grid
from tests.experiments.small import SHARES, experiment, measured_by_hand, subject

GRID = Grid(sites=("attention", "mlp"), blocks=("1",))


@pytest.fixture(scope="module")
def mapped(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    coins = experiment((0.2, 0.8), told=False, steps=1)
    return folder, coins, map_experiment(coins, model, folder, grid=GRID, progress=False)


def test_adapters_learn_in_one_place_each_and_in_all(mapped):
    folder, _, found = mapped
    assert sorted(place.name for place in found.places) == ["attention@1", "mlp@1"]
    for name in ("attention@1", "mlp@1"):
        unit = folder / "places" / name / "units" / "trained-0"
        assert (unit / "adapter" / "adapter_model.safetensors").is_file()
        assert not (folder / "places" / name / "units" / "base").exists()
        # The base's answers to neutral questions are those of the run in all blocks
        kept = (folder / "all" / "units" / "trained-0" / "formats.jsonl").read_bytes()
        assert (unit / "formats.jsonl").read_bytes() == kept
        assert [kept.name for kept in (unit / "reports").iterdir()] == ["acts"]
    assert not found.has_reports
    assert "no map of reports: points, no verdict" in str(found)


def test_adapters_of_one_place_are_asked_where_those_of_all_blocks_have_a_result(
    mapped, model, tmp_path, monkeypatch
):
    folder, coins, found = mapped
    copied = shutil.copytree(folder, tmp_path / "places")
    monkeypatch.setattr("distmatch.experiments.places.RESULTS", (found.whole.verdict.outcome,))
    asked = map_experiment(coins, model, copied, grid=GRID, progress=False)
    assert asked.has_reports
    for place, one in asked.places.items():
        assert one.verdict.num_learned == one.num_learned == 2
        assert one.behaviour == pytest.approx(found.places[place].behaviour, nan_ok=True)
        reports = copied / "places" / place.name / "units" / "trained-0" / "reports"
        assert {kept.name for kept in reports.iterdir()} > {"acts"}


def test_texts_of_the_base_are_written_once_for_all_places(tmp_path):
    (tmp_path / "all" / "texts").mkdir(parents=True)
    (tmp_path / "all" / "texts" / "some.jsonl").write_text("a text\n")
    for _ in range(2):
        _copy_texts(tmp_path / "all", tmp_path / "one")
    assert (tmp_path / "one" / "texts" / "some.jsonl").read_text() == "a text\n"
    assert len(list((tmp_path / "one").rglob("*"))) == 2


def test_in_a_notebook_it_shows_its_table_and_the_map(mapped):
    _, _, found = mapped
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + 1 + 2
    assert ">attention@1</td>" in shown
    assert "no map of reports: points, no verdict" in shown
    assert shown.count("data:image/png;base64,") == 1


def test_started_again_it_trains_nothing_and_another_experiment_is_refused(
    mapped, model, tmp_path, monkeypatch
):
    folder, coins, found = mapped
    copied = shutil.copytree(folder, tmp_path / "places")
    monkeypatch.setattr("distmatch.models.choice.ModelChoice.load", None)
    again = map_experiment(coins, model, copied, grid=GRID, progress=False)
    assert str(again) == str(found)
    with pytest.raises(ConfigError, match="told other things"):
        map_experiment(coins, model, copied, grid=GRID, learning_rate=0.5, progress=False)


def test_who_does_what_was_drawn_has_1_and_who_does_half_of_it_half():
    coins = experiment(SHARES)
    for part in (1.0, 0.5):
        measured = measured_by_hand(coins, lambda unit, part=part: doing(unit, part))
        assert behaviour_of(coins, measured).mean == pytest.approx(part)
    found = AtPlace.of(coins, measured_by_hand(coins, lambda unit: doing(unit, 1.0)), is_asked=True)
    assert found.verdict.outcome == REPORTS
    assert found.report.mean == pytest.approx(1, abs=0.15)
    assert found.behaviour.low > 0.9


def doing(unit, part):
    """One that is nearer to even than it was taught, and tells what it was taught."""
    share = unit.behaviour[0] if unit.behaviour else 0.5
    return subject(0.5 + part * (share - 0.5), lambda own: share if own else 0.5)


def test_what_is_no_place_is_refused_before_anything_is_trained(model, tmp_path, monkeypatch):
    monkeypatch.setattr(UnitRuns, "carried_out", None)
    coins = experiment((0.2, 0.8), told=False)
    with pytest.raises(TargetingError, match="block"):
        map_experiment(coins, model, tmp_path, grid=Grid(blocks=("7",)), progress=False)
    arguments = ["experiment", "shares", "--places", "mlp", "--dry-run"]
    assert main(arguments) == 2


def test_both_maps_are_drawn(mapped, tmp_path):
    _, _, found = mapped
    found.draw(tmp_path / "places.png")
    assert (tmp_path / "places.png").is_file()


@pytest.mark.parametrize("first", [(-0.1, 0.5), (math.nan, math.nan)])
def test_places_whose_interval_holds_0_are_faint(first, mapped, tmp_path, monkeypatch):
    _, _, found = mapped
    ends = [first, (0.1, 0.5)]
    places = {
        place: replace(one, behaviour=Interval(0.3, *bounds))
        for (place, one), bounds in zip(found.places.items(), ends, strict=True)
    }
    drawn = []
    monkeypatch.setattr("distmatch.plots.layer_maps", lambda *maps, **more: drawn.append(more))
    replace(found, places=places).draw(tmp_path / "places.png")
    assert drawn[0]["faint"]["behaviour"].tolist() == [[True, False]]


def test_the_page_has_both_maps_side_by_side_only_where_something_is_reported(mapped):
    _, _, found = mapped
    layers = places_page(found).views[0]
    assert list(layers.maps) == ["behaviour"] and "No map of reports" in layers.note
    assert [place.column for place in layers.places] == ["attention", "mlp"]
    assert layers.places[0].facts["taught"].endswith("of 2")
    reports = replace(found.whole.verdict, outcome=REPORTS)
    shown = places_page(replace(found, whole=replace(found.whole, verdict=reports))).views[0]
    assert list(shown.maps) == ["behaviour", "report"]
