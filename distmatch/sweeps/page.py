"""What came of a sweep as a page: maps whose places tell all that was measured there."""

from collections.abc import Sequence
from typing import Any

from distmatch.evals.report import Report
from distmatch.evals.store import REPORT_FILE
from distmatch.evals.views import word_dots
from distmatch.reports import KeyFigure, MapView, Page, PlaceFacts, TableView
from distmatch.reports.drawing import number_text
from distmatch.sweeps.figures import site_names
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.folder import CELLS_FOLDER
from distmatch.sweeps.headlines import CONTROL, COPYING, MAPPED, Headline, mean_of
from distmatch.sweeps.outcome import Sweep

_SLOPE = "slope"
_PRICES = {
    "KL on ordinary text": "kl",
    "parameters": "parameters",
    "seconds of training": "train_seconds",
    "FLOPs": "flops",
}
"""By what they are called, fields of a finding."""


def sweep_page(sweep: Sweep) -> Page:
    """Which places learned it, and at what price.

    Args:
        sweep: With one finding or more.
    """
    num_failed = f"; {len(sweep.failed)} cells failed" if sweep.failed else ""
    sites = {f.site for f in sweep.findings}
    seeds = max(f.num_seeds for f in sweep.findings)
    rates = sorted({f.learning_rate for f in sweep.findings})
    return Page(
        title=sweep.folder.resolve().name,
        sentence=(
            f"An adapter was trained in each of {len(sweep.chosen)} places ({len(sites)} kinds of "
            f"site), at learning rates {', '.join(f'{rate:g}' for rate in rates)}, "
            f"in up to {seeds} seeds{num_failed}."
        ),
        figures=_first_screen(sweep),
        views=[*_maps(sweep), _cells(sweep)],
    )


def _first_screen(sweep: Sweep) -> dict[str, Sequence[KeyFigure]]:
    best = sweep.chosen[0]
    compared = {"all blocks": sweep.whole} if sweep.whole not in (None, best) else {}
    compared[best.name] = best
    gained = [_figure(sweep, headline, compared) for headline in (CONTROL, COPYING)]
    slopes = {name: f.slope for name, f in compared.items() if f is not None}
    base = mean_of(sweep.base.learned, _SLOPE)
    steep = KeyFigure(
        name=_SLOPE,
        reading="1 is perfect, 0 ignores the numbers",
        values=slopes,
        marks={"base": base},
    )
    kl = KeyFigure(
        name="KL",
        reading="from the base on ordinary texts, nats a token",
        values={name: f.kl for name, f in compared.items() if f is not None},
    )
    return {"Where most control was learned": [*gained, steep], "What it costs elsewhere": [kl]}


def _figure(sweep: Sweep, headline: Headline, compared: dict[str, Any]) -> KeyFigure:
    return KeyFigure(
        name=headline.name,
        reading=headline.label.partition(": ")[2],
        values={name: f.gains[headline.name] for name, f in compared.items()},
        marks={"base": headline.of_base(sweep.base.learned)},
    )


def _maps(sweep: Sweep) -> list[MapView]:
    """Each headline and the slope of single blocks, at their chosen learning rates."""
    single = [f for f in sweep.chosen if f.is_single]
    if not single:
        return []
    names = site_names({(f.site, f.rank) for f in single})
    maps = [*(headline.name for headline in MAPPED), _SLOPE, *(one.name for one in sweep.suites)]
    references = {h.name: {"base": h.of_base(sweep.base.learned)} for h in MAPPED}
    references[_SLOPE] = {"base": mean_of(sweep.base.learned, _SLOPE)}
    if sweep.whole is not None:
        for name, value in _mapped(sweep, sweep.whole).items():
            references.setdefault(name, {})["all"] = value
    view = MapView(
        title="Layers",
        rows=[str(block) for block in sorted({f.numbers[0] for f in single})],
        columns=list(names.values()),
        maps=maps,
        places=[
            PlaceFacts(
                f.blocks,
                names[f.site, f.rank],
                _mapped(sweep, f),
                _facts(sweep, f),
                _dots(sweep, f),
            )
            for f in single
        ],
        references=references,
        note="Single blocks, each at the learning rate chosen for it; dots are of all seeds.",
    )
    return [view]


def _mapped(sweep: Sweep, finding: Finding) -> dict[str, float]:
    gains = {headline.name: finding.gains[headline.name].mean for headline in MAPPED}
    asked = [one for one in sweep.suites if finding.place in one.places]
    return (
        gains
        | {_SLOPE: finding.slope}
        | {one.name: one.differences[finding.place].mean for one in asked}
    )


def _facts(sweep: Sweep, finding: Finding) -> dict[str, str]:
    tried = sorted(
        (f for f in sweep.findings if f.place == finding.place), key=lambda f: f.learning_rate
    )
    rates = (f"{f.learning_rate:g}: {number_text(f.control.mean)}" for f in tried)
    return {
        **{h.name: number_text(finding.gains[h.name]) for h in MAPPED},
        _SLOPE: number_text(finding.slope),
        "TVD": number_text(finding.tvd),
        **{f"control, {name}": number_text(one) for name, one in finding.transfer.items()},
        **{
            one.figure: number_text(one.headline(finding.place))
            for one in sweep.suites
            if finding.place in one.places
        },
        "learning rate": f"{finding.learning_rate:g}",
        "control by rate": ", ".join(rates),
        "seeds": str(finding.num_seeds),
        "rank": str(finding.rank),
        **{name: number_text(float(getattr(finding, field))) for name, field in _PRICES.items()},
    }


def _dots(sweep: Sweep, finding: Finding) -> list[tuple[float, float]]:
    """Of all seeds; of cells that were done before their reports were kept none."""
    paths = (sweep.folder / CELLS_FOLDER / name / REPORT_FILE for name in finding.cells)
    return [dot for path in paths if path.is_file() for dot in word_dots(Report.load(path))]


def _cells(sweep: Sweep) -> TableView:
    """A row a place and learning rate."""
    transfers = list(sweep.base.transfer)
    rows: list[Any] = [
        [
            *(f.name, float(f.rank), f.learning_rate, "yes" if f.chosen else ""),
            *(float(f.num_seeds), tuple(f.control), tuple(f.copying), f.slope, f.tvd),
            *(f.transfer[name] for name in transfers),
            *(float(getattr(f, field)) for field in _PRICES.values()),
        ]
        for f in sweep.findings
    ]
    named = ["cell", "rank", "learning rate", "chosen", "seeds", "control", "copying", _SLOPE]
    columns = [*named, "TVD", *(f"control, {name}" for name in transfers), *_PRICES]
    return TableView(title="Cells", columns=columns, rows=rows)
