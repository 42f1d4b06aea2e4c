"""Reports as plain values for a page, against subjects whose answers are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from distmatch.data import Example, WordDistribution
from distmatch.data.examples import plain_prompt
from distmatch.errors import DataError
from distmatch.evals import FunctionSubject, OwnExamples, Report, measure
from distmatch.evals.items import ANSWER, Items
from distmatch.evals.page import (
    ASKED_FILE,
    COSTS,
    comparison_page,
    save_report_page,
    suites_page,
)
from distmatch.evals.store import Store
from distmatch.evals.suites import SUITES
from distmatch.evals.views import (
    REST,
    answers_view,
    groups_view,
    items_view,
    metrics_view,
    price_figures,
)

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
WORDS = ("heads", "tails")


def asked(share, number):
    prompt = [{"role": "user", "content": f"Say heads in {share:.0%}."}]
    metadata = {"wording": "odd" if number % 2 else "even", "row": number}
    return Example(
        prompt=prompt, target=WordDistribution(WORDS, (share, 1 - share)), metadata=metadata
    )


ROWS = [asked(share, number) for number, share in enumerate(SHARES)]


def report_of(answer, rows=ROWS):
    """Of one who answers a share with (heads, tails, none of them)."""

    def words_alone(example):
        return answer(example.target.probs[0])[:2]

    return measure(FunctionSubject(probs_of=words_alone), OwnExamples(rows=rows))


@pytest.fixture(scope="module")
def both():
    """One who ignores the numbers, and one who does as asked in 8 cases of 10."""
    before = report_of(lambda share: (0.25, 0.25, 0.5))
    return {"before": before, "after": report_of(lambda s: (0.8 * s, 0.8 * (1 - s), 0.2))}


def test_every_word_has_what_was_asked_and_given_of_all_and_of_the_words(both):
    item = items_view("examples", both).items[1]
    heads, tails, rest = item.words
    assert (heads.word, tails.word, rest.word) == (*WORDS, REST)
    assert (heads.asked, rest.asked) == (pytest.approx(0.3), 0)
    assert heads.given == pytest.approx({"before": 0.25, "after": 0.24})
    assert rest.given == pytest.approx({"before": 0.5, "after": 0.2})
    assert heads.asked_over_words == pytest.approx(0.3)
    assert heads.given_over_words == pytest.approx({"before": 0.5, "after": 0.3})
    assert math.isnan(rest.asked_over_words), "it has no dot"
    assert item.prompt == [("user", "Say heads in 30%.")]
    assert item.known == {"wording": "odd", "row": "1"}


def test_columns_have_each_items_own_metrics_of_each_model(both):
    view = items_view("examples", both)
    found = dict(zip(view.columns, view.items[0].cells, strict=True))
    assert found == pytest.approx(
        {
            **{"tvd before": 0.65, "tvd after": 0.2, "other before": 0.5, "other after": 0.2},
            **{"control_tvd before": 0.4, "control_tvd after": 0},
        },
        abs=1e-6,
    )


def test_the_title_and_summary_tell_calibration(both):
    view = items_view("examples", both)
    assert view.title == "Calibration: examples" and view.series == ["before", "after"]
    assert view.summaries["after"] == "slope 1.00  ·  control TVD 0.000  ·  other 0.200"
    many = items_view("examples", {"": report_of(lambda s: (0.5 * s, 0.5 - 0.5 * s), ROWS * 20)})
    assert [given for _, given, *_ in many.bins[""]] == pytest.approx(
        [share for share, *_ in many.bins[""]]
    )
    assert {round(share, 1) for share, *_ in many.bins[""]} == set(SHARES)


def test_items_are_chosen_by_what_has_a_few_values():
    many = [
        replace(row, metadata={**row.metadata, "text": str(n), "all": 1})
        for n, row in enumerate(ROWS * 6)
    ]
    found = items_view("examples", {"": report_of(lambda s: (s, 1 - s, 0), many)})
    assert list(found.choices) == ["wording", "row"], "neither 30 texts nor one value for all"


def test_metrics_stand_beside_each_other_with_paired_differences(both):
    view = metrics_view({"examples": {**both, "again": both["before"]}})
    assert view.columns[2:7] == ["before", "after", "again", "after - before", "again - before"]
    row = next(row for row in view.rows if row[1] == "other")
    assert [cell[0] for cell in row[2:7]] == pytest.approx([0.5, 0.2, 0.5, -0.3, 0])


def test_groups_are_rows_and_what_has_none_has_no_table(both):
    assert groups_view("examples", both) is None
    grouped = [replace(row, metadata={"group": row.metadata["wording"]}) for row in ROWS]
    view = groups_view("given", {"": report_of(lambda s: (s, 1 - s, 0), grouped)})
    assert [row[:2] for row in view.rows] == [["even", 3.0], ["odd", 2.0], ["all", 5.0]]


def test_answers_in_writing_stand_beside_each_other():
    def report(*answers):
        said = tuple({ANSWER: answer} if answer else {} for answer in answers)
        ones = np.ones(len(answers))
        prompts = tuple(plain_prompt(row.prompt) for row in ROWS)
        items = Items(metadata=({},) * 5, ratios={"kl": (ones, ones)}, prompts=prompts, said=said)
        return Report.of(items, num_resamples=10)

    before, after = report("A", "", "B", "", ""), report("C", "", "D", "", "")
    view = answers_view("it", {"before": before, "after": after})
    assert view.columns == ["prompt", "before", "after"]
    assert view.rows == [["Say heads in 10%.", "A", "C"], ["Say heads in 50%.", "B", "D"]]
    assert "temperature 1" in view.note
    shown = items_view("it", {"before": before, "after": after}).items
    assert shown[0].said == {"before": "answer: A", "after": "answer: C"} and shown[1].said == {}
    unwritten = report_of(lambda s: (s, 1 - s, 0))
    assert answers_view("it", {"": unwritten}) is None
    assert answers_view("it", {"before": unwritten, "after": after}).rows[0][1:] == ["", "C"]


def test_prices_are_what_is_better_lower_or_higher_with_their_differences(both):
    figures = {figure.name: figure for figure in price_figures("ordinary", both)}
    assert {"ordinary: tvd", "ordinary: within_0.10"} <= set(figures)
    assert not {"ordinary: slope", "ordinary: policy_tvd"} & set(figures)
    figure = figures["ordinary: tvd"]
    assert [value[0] for value in figure.values.values()] == pytest.approx([0.56, 0.2], abs=1e-6)
    assert "difference -0.360 [" in figure.reading
    (alone,) = price_figures("ordinary", {"": both["after"]}, headline=True)
    assert alone.name == "ordinary: tvd" and "difference" not in alone.reading


def test_a_price_names_the_group_that_lost_most_not_the_one_that_was_always_bad():
    def is_even(row):
        return row.metadata["wording"] == "even"

    rows = [replace(row, metadata={"group": row.metadata["wording"]}) for row in ROWS]
    odd = {row.target.probs[0] for row in ROWS if not is_even(row)}
    before = report_of(lambda s: (1 - s, s, 0) if s in odd else (s, 1 - s, 0), rows)
    after = report_of(lambda s: (1 - s, s, 0) if s in odd else (s / 2, 1 - s / 2, 0), rows)
    lost = before.groups()["even"].metrics["tvd"].mean, after.groups()["even"].metrics["tvd"].mean
    assert after.groups()["odd"].metrics["tvd"].mean > lost[1] > lost[0]
    reading = price_figures("it", {"before": before, "after": after})[0].reading
    assert reading.endswith("lost most in even: {:.3f} before, {:.3f} after".format(*lost))
    assert "; difference " in reading
    backwards = price_figures("it", {"after": after, "before": before})[0].reading
    assert "; gained least in odd: " in backwards
    worst = price_figures("it", {"": after})[0].reading
    odds = after.groups()["odd"].metrics["tvd"].mean
    assert worst.endswith(f"worst in odd: {odds:.3f}")


def test_the_first_screen_has_headline_policy_and_what_it_costs_elsewhere(both):
    page = comparison_page("runs/it", {"ordinary": both, "examples": both, "given": both})
    assert list(page.figures) == ["examples", COSTS, "Asked besides"]
    headline = page.figures["examples"][0]
    assert headline.name == "tvd"
    assert headline.values["after"][1] <= headline.values["after"][0] <= headline.values["after"][2]
    policy = both["after"].metrics["policy_tvd"].mean
    assert headline.marks == {"best fixed answer": policy}
    assert all(figure.name.startswith("ordinary: ") for figure in page.figures[COSTS])
    assert [figure.name for figure in page.figures["Asked besides"]] == ["given: tvd"]
    asked = (f"{name}: {SUITES[name].question}" for name in ("ordinary", "given"))
    questions, how = page.notes
    assert questions == " ".join(asked)
    assert how.startswith("In brackets 95% intervals") and "renormalised, and so are dots" in how
    assert how.endswith(
        "Fewer than 20 items are too few for them to mean much: ordinary, examples, given."
    )
    assert page.title == "it"


def test_whoever_was_asked_is_told_by_the_settings_that_are_kept(both, tmp_path):
    local = {"model": f"GGUF {'0123456789abcdef' * 4}", "adapter": None, "examples.n": 3, "seed": 7}
    remote = {"endpoint": "https://models.example.org/v1/chat", "model": "a-name-of-some-length"}
    told = {
        "model GGUF 0123456789abcdef..., seed 7 (settings.json has all).": local,
        "endpoint https://models.example.org/v1/chat, model a-name-of-some-length.": remote,
    }
    for number, (text, settings) in enumerate(told.items()):
        folder = tmp_path / str(number)
        Store(folder).keep("examples", both["after"], settings)
        page = suites_page(folder, {"": {"examples": both["after"]}})
        assert page.notes[-1] == f"Who was asked: {text}"
        (folder / "examples" / ASKED_FILE).write_text("smollm2-135m with the adapter runs/it")
        page = suites_page(folder, {"": {"examples": both["after"]}})
        assert page.notes[-1] == f"Who was asked: smollm2-135m with the adapter runs/it, {text}"
    unknown = suites_page(tmp_path, {"": {"examples": both["after"]}})
    assert not any("Who was asked" in note for note in unknown.notes)


def test_one_model_alone_is_told_by_what_it_was_asked(both):
    page = suites_page("it", {"": {"examples": both["after"]}})
    assert page.sentence == "A model was asked examples (5 items)."
    assert [view.title for view in page.views] == ["Calibration: examples", "Metrics"]


def test_reports_at_hand_become_a_page_of_their_own(both, tmp_path):
    save_report_page(tmp_path / "one" / "report.html", both["after"])
    text = (tmp_path / "one" / "report.html").read_text()
    assert "<h1>one</h1>" in text and "Measured on examples (5 items)." in text
    save_report_page(tmp_path / "report.html", both, sentence="It was trained.", suite="given")
    text = (tmp_path / "report.html").read_text()
    assert SUITES["given"].question in text and "It was trained. Measured on given" in text
    with pytest.raises(DataError, match="no report"):
        save_report_page(tmp_path / "report.html", {})
