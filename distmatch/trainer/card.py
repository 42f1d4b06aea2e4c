"""The model card beside an adapter: of what base, trained where and on what, how good, how to load.

Its header is the hub's metadata. Of the same adapter it says the same, so it has no date.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from distmatch.data.examples import Example
from distmatch.files import write_text
from distmatch.models.saved_adapter import SavedAdapter

CARD_FILE, FIGURE_FILE = "README.md", "calibration.png"
NOT_MEASURED = "Not measured."

_ABOUT = """A {kind} adapter of `{base}`, trained with `distmatch`, which fine-tunes a language \
model until its probabilities of given words are those asked for."""

_OTHER_BASE = """The digest is of samples of the base's weights. On other weights, or on these \
quantised otherwise, the adapter gives other probabilities without any sign of it; \
`dm.load_adapter` compares `base.json` and refuses them."""

_OURS = """With `distmatch`, from a directory that holds these files:

```python
import distmatch as dm

model, tokenizer = dm.load_model({base}{quantization}){note}
model = dm.load_adapter(model, {folder})
```"""

_STOCK = """With PEFT alone, which doesn't compare bases:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base}){note}
model = PeftModel.from_pretrained(base, {folder})
```"""

_PACKED_EXPERTS = """Experts are adapted here, and the base keeps them packed in MXFP4. PEFT alone \
finds no parameter there, warns, and leaves the experts as they are: use `dm.load_adapter`, or \
PEFT on the unpacked model, where the answers are others."""

_DEEPSEEK = """PEFT 0.21 takes the shared experts and dense blocks of DeepSeek's mixtures for \
routed experts: use `dm.load_adapter`."""

_SERVERS = """What servers such as vLLM or llama.cpp make of it has not been tried{experts}. \
Measure what one serves before you rely on it: `distmatch eval NAME --endpoint URL`."""

_LICENCE = """The base model's licence applies to it and may bind what is made of it. Which one \
this adapter has is for whoever publishes it to say, as `license` in this file's header."""


@dataclass(frozen=True, kw_only=True)
class CardMeasures:
    """What was measured of an adapter, in Markdown; of reports, `distmatch.runs.card_measures`."""

    metrics: str = NOT_MEASURED
    calibration: str = NOT_MEASURED
    elsewhere: str = NOT_MEASURED
    """What it costs where nothing was asked for."""
    results: tuple[EvalResult, ...] = ()
    """For the header."""


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """What a card says; as text, the whole file."""

    name: str
    adapter: SavedAdapter
    data: str
    """On what it was trained, as of `data_told`."""
    measures: CardMeasures
    header: Mapping[str, Any] = field(default_factory=dict)
    """More of the hub's metadata, such as `license`; what is None isn't given."""

    def __str__(self) -> str:
        """Header and sections.

        Raises:
            ValueError: What the hub's own classes refuse in the header.
        """
        about = _ABOUT.format(kind=_kind(self.adapter), base=self.adapter.base_name)
        sections = {
            "Base model": _of_base(self.adapter),
            "What was trained": _of_sites(self.adapter),
            "Data": self.data,
            "Metrics": self.measures.metrics,
            "Calibration": self.measures.calibration,
            "What it costs elsewhere": self.measures.elsewhere,
            "How to load it": _of_loading(self.adapter, self.name),
            "Licence": _LICENCE,
        }
        body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
        return (
            f"---\n{self._metadata.to_yaml()}\n---\n\n# {escaped(self.name)}\n\n{about}\n\n{body}\n"
        )

    @property
    def _metadata(self) -> ModelCardData:
        told: dict[str, Any] = {"base_model": self.adapter.base_id, "library_name": "peft"}
        told |= {"pipeline_tag": "text-generation"}
        told |= {name: value for name, value in self.header.items() if value is not None}
        tags = ["distmatch", self.adapter.kind.lower(), *told.pop("tags", ())]
        if self.measures.results:
            told |= {"model_name": self.name, "eval_results": list(self.measures.results)}
        return ModelCardData(tags=tags, **told)


def write_card(
    folder: str | Path,
    name: str,
    data: str,
    measures: CardMeasures,
    header: Mapping[str, Any] | None = None,
) -> None:
    """Leave the card of the adapter in a folder there; where there is none, do nothing.

    Args:
        folder: The adapter's.
        name: What the adapter is called.
        data: On what it was trained, as of `data_told`.
        measures: What is known of it; beside calibration `calibration.png` is shown if it is there.
        header: More of the hub's metadata.
    """
    folder = Path(folder)
    if measures.calibration != NOT_MEASURED and (folder / FIGURE_FILE).is_file():
        shown = f"{measures.calibration}\n\n![Given against asked]({FIGURE_FILE})"
        measures = replace(measures, calibration=shown)
    adapter = SavedAdapter.read(folder)
    if adapter is not None:
        card = AdapterCard(
            name=name, adapter=adapter, data=data, measures=measures, header=header or {}
        )
        write_text(folder / CARD_FILE, str(ModelCard(str(card))))


def data_told(
    examples: Sequence[Example], num_texts: int = 0, *, refreshes: bool = False, origin: str = ""
) -> str:
    """On what an adapter was trained, in a sentence or two.

    Args:
        examples: All of them.
        num_texts: How many ordinary texts it was kept near its base on.
        refreshes: Whether the examples were made anew while it trained.
        origin: Where they are from; empty: not known.
    """
    if not examples:
        return "None."
    counts = sorted({len(example.target.words) for example in examples})
    spread = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    words = "one word" if counts == [1] else f"{spread} words"
    told = f"{len(examples):,} rows of {words} a prompt"
    told += f", from {escaped(origin)}" if origin else "; where they are from is not recorded"
    if refreshes:
        told += ". They were made anew while it trained"
    if num_texts:
        told += f". {num_texts:,} ordinary texts, on which it was to stay near its base"
    return f"{told}."


def _kind(adapter: SavedAdapter) -> str:
    return "LoRA" if adapter.kind == "LORA" else escaped(adapter.kind)


def _of_base(adapter: SavedAdapter) -> str:
    name, hub_id, file = adapter.base_name, adapter.base_id, adapter.base_file
    known = f"a rounding of {hub_id}" if hub_id else "which has no name on the hub that is known"
    if file is not None:
        known = f"a GGUF file whose SHA-256 begins {file.digest}, unpacked to {file.precision}"
    rows = [
        ["model", name if name == hub_id else f"{name}, {known}"],
        ["quantisation", adapter.base.get("quantization") or "none"],
        ["digest", adapter.base.get("weights", "not recorded")],
    ]
    return f"{markdown_table([['', ''], *rows])}\n\n{_OTHER_BASE}"


def _of_sites(adapter: SavedAdapter) -> str:
    rows = [["site", "blocks", "parameters"]]
    rows += [[row.site, row.blocks, f"{row.parameters:,}"] for row in adapter.sites]
    rows.append(["all", "", f"{sum(adapter.sizes.values()):,}"])
    table = markdown_table(rows)
    if adapter.kind != "LORA":
        return table
    return f"{table}\n\nRank {adapter.config['r']}, alpha {adapter.config['lora_alpha']:g}."


def _of_loading(adapter: SavedAdapter, name: str) -> str:
    kind, folder, base = adapter.base.get("quantization"), json.dumps(name), adapter.base_name
    packed = f", quantization={json.dumps(kind)}" if kind else ""
    if adapter.base_file is not None and adapter.base_file.precision != "float32":
        packed += f", dtype={json.dumps(adapter.base_file.precision)}"
    note = "" if adapter.base_id else "  # the path to it"
    ours = _OURS.format(base=json.dumps(base), quantization=packed, folder=folder, note=note)
    stock = _STOCK.format(base=json.dumps(adapter.base_id or base), folder=folder, note=note)
    told = [ours] if adapter.base_file is not None else [ours, stock]
    if adapter.has_experts and "mxfp4" in (kind or ""):
        told.append(_PACKED_EXPERTS)
    if "deepseek" in adapter.base.get("config", {}).get("model_type", ""):
        told.append(_DEEPSEEK)
    experts = ", nor whether they take adapters on expert layers" * adapter.has_experts
    return "\n\n".join([*told, _SERVERS.format(experts=experts)])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table of Markdown, the first of them a header."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(map(escaped, row))} |" for row in ruled)


def escaped(text: str) -> str:
    """A text as Markdown shows it in one line: no markup of HTML, no end of a cell."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", r"\|")
