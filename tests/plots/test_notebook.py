"""What shows itself in a notebook: only shown, never run, with a figure where there is one."""

import base64
from html.parser import HTMLParser

import pytest

from distmatch import plots
from distmatch.errors import DataError, MissingExtraError
from distmatch.plots.style import drawn_figure
from tests.plots.drawn import PNG


class Read(HTMLParser):
    """The tags of a page, its texts, and where its images are from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.images: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [value for name, value in attrs if name == "src"]

    def handle_data(self, data):
        self.texts.append(data)


BAD = "<script>alert('x')</script> & \"quoted\""


def test_texts_and_cells_are_shown_as_they_are():
    read = Read(plots.notebook_html(BAD, [["metric", BAD], ["tvd", "</table>"]]))
    assert read.tags == ["pre", "table", "tr", "th", "th", "tr", "td", "td"]
    assert [text for text in read.texts if text.strip()] == [BAD, "metric", BAD, "tvd", "</table>"]


def test_a_figure_stands_below_as_a_png():
    def figure():
        with drawn_figure(1, 1, None) as made:
            made.subplots()
        return made

    read = Read(plots.notebook_html("a", figure=figure))
    (source,) = read.images
    kind, content = source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content).startswith(PNG)


@pytest.mark.parametrize("error", [DataError("nothing"), MissingExtraError("no matplotlib")])
def test_what_cannot_be_drawn_is_left_out(error):
    def figure():
        raise error

    assert plots.notebook_html("a", figure=figure) == plots.notebook_html("a")


def test_another_error_of_a_figure_is_no_secret():
    with pytest.raises(ZeroDivisionError):
        plots.notebook_html("a", figure=lambda: 1 / 0)


def test_what_is_empty_is_left_out():
    assert plots.notebook_html("", "a", []) == plots.notebook_html("a")
