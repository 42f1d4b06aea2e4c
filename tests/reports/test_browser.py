"""The page in a browser: pointing, choosing, searching and sorting do what they say."""

import pytest

from distmatch.reports import page_html
from tests.reports.browser import seen_by
from tests.reports.small import PAGE

pytestmark = pytest.mark.browser

SCRIPT = """
const one = (selector) => document.querySelector(selector);
const [items, maps, table] = document.querySelectorAll("section.view");
const dots = [...items.querySelectorAll(".marks circle")];
const told = items.querySelector(".told");
const hover = (what) => what.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
const key = (what, name) =>
  what.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const rows = (part) => [...part.querySelectorAll("table.sortable > tbody > tr")];
const shown = (part) =>
  rows(part).filter((row) => row.offsetParent !== null).map((row) => row.cells[0].dataset.sort);
const visible = () => dots.filter((dot) => getComputedStyle(dot).display !== "none").length;
const set = (field, value) => {
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input"));
};

seen.wasRun = window.wasRun === true;
seen.places = dots.map((dot) => [dot.getAttribute("cx"), dot.getAttribute("cy")].map(Number));
seen.stops = dots.filter((dot) => dot.tabIndex === 0).length;
hover(dots[0]);
seen.hovered = told.innerText;
seen.pointed = told.querySelector("tr.pointed").innerText;
dots[0].focus();
key(dots[0], "ArrowRight");
seen.moved = document.activeElement === dots[1];
seen.outline = getComputedStyle(dots[1]).strokeWidth;
key(dots[1], "Enter");
const opened = items.querySelector(`tr[data-item="${dots[1].dataset.item}"] details`);
seen.opened = opened.open;

set(items.querySelector("select.series"), "before");
seen.before = dots.map((dot) => Number(dot.getAttribute("cy")));
seen.binsBefore = [...items.querySelectorAll(".bins")].map((bins) => bins.hasAttribute("hidden"));
set(items.querySelector(".search"), "VIOLET");
seen.found = [shown(items), visible(), items.querySelector(".count").value];
seen.binsOfSome = [...items.querySelectorAll(".bins")].every((b) => b.hasAttribute("hidden"));
seen.stopsOfSome = dots.filter((d) => d.tabIndex === 0).map((dot) => dot.dataset.item);
set(items.querySelector(".search"), "");
set(items.querySelector("select.choice"), "odd");
seen.chosen = [shown(items), visible()];
set(items.querySelector("select.choice"), "");

const fields = [...maps.querySelectorAll("svg.map")].map((map) =>
  [...map.querySelectorAll(".field")]);
fields[0][0].focus();
seen.place = maps.querySelector(".told").innerText;
seen.dots = maps.querySelector(".told .many").getAttribute("d");
const box = maps.querySelector(".told .scatter").getBoundingClientRect();
seen.scatter = [box.width, box.height];
seen.both = maps.querySelectorAll(".field.pointed").length;
key(document.activeElement, "ArrowUp");
seen.above = maps.querySelector(".told").innerText;
seen.dotsAbove = maps.querySelectorAll(".told .many").length;
key(document.activeElement, "ArrowDown");
key(document.activeElement, "ArrowRight");
seen.right = maps.querySelector(".told").innerText;

const sort = [...table.querySelectorAll("th button")][1];
sort.click();
seen.up = shown(table);
sort.click();
seen.down = shown(table);
set(table.querySelector(".search"), "ot");
seen.rows = shown(table);
seen.paper = getComputedStyle(document.body).backgroundColor;
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What happens on the page."""
    return seen_by(page_html(PAGE), SCRIPT, tmp_path_factory.mktemp("light"))


def test_nothing_goes_wrong_and_no_prompt_is_run(seen):
    assert seen["wrong"] == []
    assert not seen["wasRun"]


def test_dots_stand_where_asked_and_given_say(seen):
    at = [(0.2, 0.3), (0.2, 0.1), (0.5, 0.6), (0.5, 0.4), (0.8, 0.9), (0.8, 0.7)]
    wanted = sorted([400 * asked, 400 * (1 - given)] for asked, given in at)
    assert sorted(seen["places"]) == [pytest.approx(place) for place in wanted]


def test_a_dot_that_is_pointed_at_tells_its_prompt_words_asked_and_given(seen):
    told = seen["hovered"]
    assert "<script>window.wasRun = true</script>" in told and "Only the answer." in told
    assert "red0\t0.200\t0\t0.300" in told and "none of these\t0\t1\t0.020" in told
    assert "wording" in told and "plain" in told
    assert seen["pointed"].startswith("red0")


def test_the_keyboard_moves_among_dots_and_opens_their_item(seen):
    assert seen["stops"] == 1, "one stop of the tab key"
    assert seen["moved"] and seen["opened"]
    assert seen["outline"] == "3.5px"


def test_other_answers_move_the_dots_and_their_means(seen):
    assert seen["before"] == [200] * 6
    assert seen["binsBefore"] == [False, True]


def test_searching_and_choosing_leave_what_is_sought(seen):
    assert seen["found"] == [["1"], 2, "1 of 3"]
    assert seen["binsOfSome"], "means of all items say nothing of some"
    assert seen["stopsOfSome"] == ["1"]
    assert seen["chosen"] == [["1"], 2]


def test_places_of_maps_tell_what_was_measured_there_and_arrows_lead_to_others(seen):
    assert "attention, block 0" in seen["place"] and "0.001" in seen["place"]
    assert seen["both"] == 2, "the same place in both maps"
    assert "attention, block 6" in seen["above"]
    assert "mlp, block 0" in seen["right"]


def test_a_place_shows_the_dots_of_its_own_adapter_where_they_are_known(seen):
    assert seen["dots"] == "M100.0 200.0h0M300.0 200.0h0"
    assert min(seen["scatter"]) > 150
    assert seen["dotsAbove"] == 0


def test_numbers_are_sorted_as_numbers_and_what_is_missing_comes_last(seen):
    assert seen["up"] == ["tvd", "other", "slope", "kl"]
    assert seen["down"] == ["slope", "other", "tvd", "kl"]
    assert seen["rows"] == ["other"]


def test_it_is_dark_for_those_who_prefer_that(seen, tmp_path):
    script = "seen.paper = getComputedStyle(document.body).backgroundColor"
    dark = seen_by(page_html(PAGE), script, tmp_path, dark=True)
    light_parts, dark_parts = (
        [int(part) for part in paper["paper"].strip("rgb()").split(",")] for paper in (seen, dark)
    )
    assert min(light_parts) > 200 and max(dark_parts) < 60
    assert dark["wrong"] == []
