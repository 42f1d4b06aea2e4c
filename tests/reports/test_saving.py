"""The page as a file."""

import re
from dataclasses import replace

import pytest

from distmatch.errors import MissingExtraError
from distmatch.plots import drawn
from distmatch.reports import page_html, save_page, saving
from tests.reports.small import CALIBRATION, HOSTILE, LAYERS, PAGE, asked_item


def test_the_first_screen_says_what_was_done_with_intervals_and_what_is_to_beat():
    before_views = page_html(PAGE).partition('<section class="view')[0]
    first = re.sub(r"(<[^>]+>|\s)+", " ", before_views)
    assert "A run &amp; more" in first and "Trained for 10 steps." in first
    assert "0.200 [0.100, 0.300]" in first and "before 1" in first
    assert "best fixed answer 0.250" in first
    assert "What it costs elsewhere: not measured." in first


def test_what_others_wrote_is_text_wherever_it_stands():
    page = page_html(
        replace(
            PAGE,
            title=HOSTILE,
            sentence=HOSTILE,
            notes=[HOSTILE],
            views=[
                replace(
                    CALIBRATION, title=HOSTILE, items=[asked_item(0, "x", 0.2, wording=HOSTILE)]
                ),
                replace(
                    LAYERS, columns=[HOSTILE], places=[LAYERS.places[0]._replace(column=HOSTILE)]
                ),
            ],
        )
    )
    assert "wasRun = true" in page
    assert "<script>window" not in page and "<img" not in page


def test_it_asks_nothing_of_the_network():
    page = page_html(PAGE)
    assert not re.findall(r"""(?:src|href)=["']?(?!#)[^"'\s>]""", page.replace("src=x", ""))
    assert "http" not in page.replace("http-equiv", "") and "url(" not in page
    assert "default-src 'none'" in page


def test_a_page_that_would_be_too_large_keeps_fewer_items_and_says_so(tmp_path, monkeypatch):
    items = [asked_item(n, f"item number {n}", 0.5) for n in range(150)]
    page = replace(PAGE, views=[replace(CALIBRATION, items=items)])
    save_page(page, tmp_path / "whole.html")
    whole = (tmp_path / "whole.html").read_text()
    assert whole.count("item number") >= 150 and "of 150 items" not in whole
    monkeypatch.setattr(saving, "MOST_BYTES", len(whole.encode()) - 1)
    save_page(page, tmp_path / "part.html")
    part = (tmp_path / "part.html").read_text()
    assert "100 of 150 items" in part and len(part) < len(whole)
    assert "item number 0<" in part and "item number 148<" in part


def test_two_hundred_places_and_a_hundred_items_are_far_below_what_a_mail_takes(tmp_path):
    places = [
        LAYERS.places[0]._replace(row=str(row), column=column)
        for row in range(100)
        for column in ("attention", "mlp")
    ]
    layers = replace(LAYERS, rows=[str(row) for row in range(100)], places=places)
    items = [asked_item(n, "word " * 50, 0.5) for n in range(100)]
    page = replace(PAGE, views=[replace(CALIBRATION, items=items), layers])
    save_page(page, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


def test_without_its_extra_it_is_said_what_is_missing(tmp_path, monkeypatch):
    def missing(module, extra):
        raise MissingExtraError(f'this needs "{module}": pip install "distmatch[{extra}]"')

    saving._environment.cache_clear()
    monkeypatch.setattr(saving, "import_extra", missing)
    path = tmp_path / "report.html"
    told = drawn(path, lambda path: save_page(PAGE, path))
    assert told == f'{path} was not drawn: this needs "jinja2": pip install "distmatch[plots]"'
    assert not path.exists()


@pytest.fixture(autouse=True)
def _environment_anew():
    yield
    saving._environment.cache_clear()
