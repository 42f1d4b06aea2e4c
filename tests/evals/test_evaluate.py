import json
import math
import random

import numpy as np
import pytest
import torch

from distmatch.data import output_control
from distmatch.errors import DataError
from distmatch.evals import comparison_table, evaluate
from distmatch.evals.items import Answers, Items
from distmatch.evals.report import Report
from distmatch.measuring import Interval
from distmatch.measuring.metrics import METRICS
from distmatch.scoring import score


@pytest.fixture(scope="module")
def examples():
    return output_control(n=1, n_test=8, seed=3)[1]


@pytest.fixture(scope="module")
def report(tiny, examples):
    return evaluate(*tiny, examples, num_resamples=200, progress=False)


def measured(numerators, denominators, metadata=None):
    size = len(numerators)
    return Answers(
        words=(("red", "blue"),) * size,
        metadata=tuple(metadata or [{}] * size),
        asked=np.full((size, 2), 0.5),
        given=np.full((size, 2), 0.5),
        target=np.tile([0.5, 0.5, 0.0], (size, 1)),
        probs=np.tile([0.5, 0.5, 0.0], (size, 1)),
        other=np.zeros(size),
        ratios={
            name: (np.array(numerators, dtype=float), np.array(denominators, dtype=float))
            for name in METRICS
        },
    )


def test_every_answer_is_the_words_own_score(tiny, examples, report):
    for row, example in zip(report.rows(), examples, strict=True):
        alone = score(*tiny, example.prompt, example.target.words)
        assert row["words"] == list(example.target.words)
        assert row["asked"] == list(example.target.probs)
        assert row["given"] == pytest.approx(alone.log_probs.exp().tolist(), rel=1e-3)
        assert row["given_other"] == pytest.approx(alone.log_other.exp().item(), abs=1e-5)
        assert row["metadata"] == example.metadata


def test_metrics_are_those_of_the_answers(report):
    rows = report.rows()
    pairs = [(row["asked_over_words"], row["given_over_words"]) for row in rows]
    control = [1 - sum(map(min, asked, given)) for asked, given in pairs]
    assert tuple(report.metrics) == METRICS
    assert report.metrics["control_tvd"].mean == pytest.approx(math.fsum(control) / len(rows), 1e-5)
    assert [row["control_tvd"] for row in rows] == pytest.approx(control, abs=1e-5)
    assert 0 < report.metrics["swap_gap"].mean < 1


def test_swap_gap_is_that_of_asking_every_rotation(tiny, examples, report):
    for row, example in zip(report.rows(), examples, strict=True):
        prompts = (example.prompt, *example.rotations)
        scores = [score(*tiny, prompt, example.target.words).log_probs for prompt in prompts]
        sums = torch.stack(scores).double().softmax(-1).sum(0)
        assert row["swap_gap"] == pytest.approx(
            float((sums - 1).abs().mean()) / len(prompts), abs=1e-4
        )


def test_the_interval_is_that_of_resampling_one_by_one():
    rng = random.Random(0)
    tops, bottoms = [rng.random() for _ in range(30)], [0.5 + rng.random() for _ in range(30)]
    draws = []
    for _ in range(3000):
        rows = rng.choices(range(30), k=30)
        draws.append(sum(tops[i] for i in rows) / sum(bottoms[i] for i in rows))
    draws.sort()
    got = Report.of(measured(tops, bottoms), num_resamples=3000).metrics["slope"]
    assert got.mean == pytest.approx(sum(tops) / sum(bottoms))
    assert got.low == pytest.approx(draws[75], abs=0.02)
    assert got.high == pytest.approx(draws[2925], abs=0.02)


def test_a_metric_no_example_has_is_undefined_and_one_example_has_is_itself():
    none = Report.of(measured([0, 0], [0, 0]), num_resamples=50)
    assert all(math.isnan(value) for value in none.metrics["swap_gap"])
    assert none.to_json()["metrics"]["swap_gap"] == {"mean": None, "low": None, "high": None}
    assert str(none.metrics["swap_gap"]) == "-"
    one = Report.of(measured([0, 0.25, 0], [0, 1, 0]), num_resamples=50)
    assert one.metrics["swap_gap"] == Interval(0.25, 0.25, 0.25)


def test_an_infinite_metric_stays_infinite_and_can_be_saved(tmp_path):
    report = Report.of(measured([1.0, math.inf], [1, 1]), num_resamples=50)
    assert report.metrics["forward_kl"].mean == math.inf
    report.save(tmp_path / "report.json")
    assert str(report.metrics["forward_kl"]) == "inf"


def test_records_without_rotations_or_metadata_are_evaluated(tiny):
    records = [
        {"prompt": "red or blue:", "words": ["red", "blue"], "probs": [0.6, 0.4]},
        {"prompt": "Say cat", "words": ["cat"], "probs": [0.3], "other": "preserve"},
        {"prompt": "Not a dog", "words": ["dog", "fox"], "probs": [0.0, 0.0], "other": 1.0},
    ]
    report = evaluate(*tiny, records, num_resamples=20, progress=False)
    rows = json.loads(json.dumps(report.to_json(), allow_nan=False))["examples"]
    assert [row["swap_gap"] for row in rows] == [None] * 3
    assert [row["control_tvd"] is None for row in rows] == [False, True, True]
    assert report.metrics["tvd"].mean == pytest.approx(sum(row["tvd"] for row in rows) / 3, 1e-5)


def test_order_and_batch_size_change_nothing(tiny, examples, report):
    model, tokenizer = tiny
    model.train()
    backwards = evaluate(
        model, tokenizer, examples[::-1], batch_size=3, num_resamples=1, progress=False
    )
    assert model.training
    model.eval()
    assert list(backwards.other[::-1]) == pytest.approx(list(report.other), abs=1e-5)
    assert backwards.metrics["slope"].mean == pytest.approx(report.metrics["slope"].mean, abs=1e-5)


def test_the_same_seed_gives_the_same_intervals(report):
    again = Report.of(report.items, num_resamples=200)
    assert repr(again.metrics) == repr(report.metrics)
    other = Report.of(report.items, num_resamples=200, seed=1)
    assert repr(other.metrics) != repr(again.metrics)


def test_groups_are_reports_of_their_examples():
    kinds = [{"num_words": 10}, {"num_words": 2}, {"num_words": 10}]
    groups = Report.of(measured([1, 5, 3], [1, 1, 1], kinds), num_resamples=50).by("num_words")
    assert list(groups) == [2, 10]
    assert groups[2].metrics["tvd"] == Interval(5, 5, 5)
    assert groups[10].metrics["tvd"].mean == 2
    assert groups[10].num_examples == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([["x"], ["y"], ["x"]], {'["x"]': 2, '["y"]': 1}),
        ([{"b": 1, "a": 2}, {"a": 2, "b": 1}, None], {'{"a": 2, "b": 1}': 2, None: 1}),
        ([(["x"],), "x", 2], {'[["x"]]': 1, "x": 1, 2: 1}),
        ([3, 1.0, 1], {1: 2, 3: 1}),
        ([True, False, True], {False: 1, True: 2}),
        ([True, 1, 0.5], {True: 1, "1": 1, 0.5: 1}),
        ([2, None, 1], {2: 1, None: 1, 1: 1}),
    ],
)
def test_values_of_any_kind_make_groups(values, expected):
    kinds = [{"is": value} for value in values]
    groups = Report.of(measured([1, 5, 3], [1, 1, 1], kinds), num_resamples=5).by("is")
    found = [(key, group.num_examples) for key, group in groups.items()]
    assert found == list(expected.items())


def test_numbers_that_are_none_are_one_group():
    kinds = [{"is": value} for value in (float("nan"), 2, float("nan"))]
    groups = Report.of(measured([1, 5, 3], [1, 1, 1], kinds), num_resamples=5).by("is")
    assert {str(key): group.num_examples for key, group in groups.items()} == {"nan": 2, "2": 1}


def test_an_unknown_key_names_the_known_ones(report):
    with pytest.raises(DataError, match=r'"wordings"; known: .*Did you mean "wording"'):
        report.by("wordings")


def test_a_saved_report_is_read_back_as_it_was(report, tmp_path):
    report.save(tmp_path / "deep" / "report.json")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]
    read = Report.load(tmp_path / "deep" / "report.json")
    assert read.to_json() == report.to_json()
    assert {k: str(r) for k, r in read.by("num_words").items()} == {
        k: str(r) for k, r in report.by("num_words").items()
    }


def test_a_report_of_items_without_words_is_read_back_too(tmp_path):
    ratios = {"hits": (np.array([1.0, math.inf, 0.1]), np.array([1.0, 1.0, 0.0]))}
    items = Items(metadata=({"group": "a"}, {"group": "b"}, {"group": "a"}), ratios=ratios)
    report = Report.of(items, num_resamples=20)
    report.save(tmp_path / "report.json")
    read = Report.load(tmp_path / "report.json")
    assert read.to_json() == report.to_json()
    assert list(read.groups()) == ["a", "b"] and read.metrics["hits"].mean == math.inf
    with pytest.raises(DataError, match="no distribution over words"):
        _ = read.asked
    shown = read._repr_html_()
    assert ">hits</td>" in shown
    assert "<img" not in shown


@pytest.mark.parametrize("content", ["", "[]", '{"examples": []}', "{"])
def test_a_file_that_is_no_report_is_named(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match=r"report\.json is not a saved report"):
        Report.load(tmp_path / "report.json")
    with pytest.raises(DataError, match=r"can't read the report .*none\.json"):
        Report.load(tmp_path / "none.json")


def test_the_comparison_is_aligned_and_complete(report):
    lines = comparison_table({"before": report, "after": report}).splitlines()
    assert lines[0].split() == ["metric", "before", "after"]
    assert [line.split()[0] for line in lines[2:]] == list(METRICS)
    column = lines[0].index("after")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    assert f"{report.metrics['slope'].mean:.3f} [" in report.table()


def test_in_a_notebook_a_report_shows_its_table_and_its_calibration(report):
    shown = report._repr_html_()
    assert shown.count("<tr>") == 1 + len(METRICS)
    assert f">{report.metrics['slope']}</td>" in shown
    assert shown.count("data:image/png;base64,") == 1


def test_no_examples_are_refused(tiny):
    with pytest.raises(DataError, match="no examples"):
        evaluate(*tiny, [])


def test_each_group_has_the_policy_that_is_best_on_it():
    asked = np.array([[0.9, 0.1, np.nan], [0.9, 0.1, np.nan], [0.2, 0.5, 0.3], [0.1, 0.9, np.nan]])
    zeros, ones = np.zeros(4), np.ones(4)
    answers = Answers(
        words=(("a", "b"), ("a", "b"), ("a", "b", "c"), ("a", "b")),
        metadata=({"side": 1}, {"side": 1}, {"side": 1}, {"side": 2}),
        asked=asked,
        given=asked,
        target=np.zeros((4, 4)),
        probs=np.zeros((4, 4)),
        other=zeros,
        ratios={"policy_tvd": (ones, ones)},
    )
    report = Report.of(answers, num_resamples=10)
    groups = report.by("side")
    assert [row["policy_tvd"] for row in groups[1].rows()] == pytest.approx([0, 0, 0])
    assert groups[2].metrics["policy_tvd"].mean == pytest.approx(0)
    together = report.items.subset([0, 1, 3]).ratios["policy_tvd"]
    assert together[0].sum() == pytest.approx(0.8)
