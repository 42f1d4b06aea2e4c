"""A page of a few words, numbers and places, with what somebody might write into a prompt."""

from distmatch.reports import (
    AskedItem,
    AskedWord,
    ItemsView,
    KeyFigure,
    MapView,
    Page,
    PlaceFacts,
    TableView,
)

NAN = float("nan")
HOSTILE = '<script>window.wasRun = true</script><img src=x onerror="window.wasRun = true">'
BEFORE, AFTER = "before", "after"


def asked_item(number, text, asked, *, wording="plain"):
    """Two words, of which the first is asked for with a probability and given with 0.1 more."""
    words = [
        AskedWord(
            word,
            share,
            {BEFORE: 0.0, AFTER: given},
            share,
            {BEFORE: 0.5, AFTER: given},
        )
        for word, share, given in (
            (f"red{number}", asked, asked + 0.1),
            (f"blue{number}", 1 - asked, 0.9 - asked),
        )
    ]
    return AskedItem(
        prompt=[("system", "Only the answer."), ("user", text)],
        cells=[asked, number / 10],
        words=[*words, AskedWord("none of these", 0.0, {BEFORE: 1.0, AFTER: 0.02})],
        known={"wording": wording, "num_words": "2"},
    )


ITEMS = (
    asked_item(0, f"Say {HOSTILE}", 0.2),
    asked_item(1, "Say violet in half of all cases", 0.5, wording="odd"),
    asked_item(2, "Say green\nnow", 0.8),
)

CALIBRATION = ItemsView(
    title="Calibration: examples",
    series=[BEFORE, AFTER],
    columns=["tvd", "other"],
    items=ITEMS,
    choices=["wording"],
    bins={BEFORE: [[0.5, 0.5, NAN, NAN]], AFTER: [[0.5, 0.6, 0.55, 0.65]]},
    summaries={BEFORE: "slope 0.00", AFTER: "slope 1.00"},
)

DOTS = [(0.25, 0.5), (0.75, 0.5)]

LAYERS = MapView(
    title="Layers",
    rows=["0", "3", "6"],
    columns=["attention", "mlp"],
    maps=["behaviour", "report"],
    places=[
        PlaceFacts("0", "attention", {"behaviour": 0.5, "report": -0.25}, {"rate": "0.001"}, DOTS),
        PlaceFacts("6", "attention", {"behaviour": 0.25, "report": 0.125}, {"rate": "0.003"}),
        PlaceFacts("0", "mlp", {"behaviour": 1.0, "report": NAN}, {"rate": "0.01"}),
    ],
    references={"behaviour": {"all": 0.75}},
)

TABLE = TableView(
    title="Metrics",
    columns=["metric", "value"],
    rows=[["tvd", (0.2, 0.1, 0.3)], ["slope", 10.0], ["kl", NAN], ["other", 9.0]],
)

PAGE = Page(
    title="A run & more",
    sentence="Trained for 10 steps.",
    figures={
        "examples": [
            KeyFigure(
                name="tvd",
                reading="lower is better",
                values={BEFORE: 1.0, AFTER: (0.2, 0.1, 0.3)},
                marks={"best fixed answer": 0.25},
            )
        ]
    },
    views=[CALIBRATION, LAYERS, TABLE],
    notes=["What it costs elsewhere: not measured."],
)
