"""Measuring the parts of an adapter: each kept as soon as it is, stopped and gone on with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from distmatch.anatomy.parts import ALL, NONE, ONLY, WITHOUT, LoraPlaces, Part, parts_of
from distmatch.anatomy.taken_apart import TABLE_FILE, TakenApart
from distmatch.data.batching import make_batch
from distmatch.data.examples import Example
from distmatch.data.jsonl import to_examples
from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError
from distmatch.evals import LocalModel, OwnExamples, Report, Store, measure
from distmatch.evals.store import REPORT_FILE
from distmatch.files import alone_in, check_folder, told_if_unwritable, write_text
from distmatch.models.adapters import check_adapter, load_adapter, switched_off
from distmatch.models.attention import Tree
from distmatch.models.blocks import adaptable_sites, decoder_blocks
from distmatch.models.choice import ModelChoice, adapter_record
from distmatch.models.trunk import Trunk, most_apart
from distmatch.progress import phase, say, work
from distmatch.scoring import model_encoder, resolve_at_most, row_logits
from distmatch.trainer.distribution_trainer import Rows

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
PARTS_FOLDER = "parts"
_PARTS = "parts"  # as they are called where progress is shown
_CHECKED = 4


def take_apart(
    model: ModelChoice | str,
    adapter: str | Path,
    rows: Rows,
    out: str | Path,
    *,
    every: int = 1,
    factors: Sequence[float] = FACTORS,
    progress: bool = True,
) -> TakenApart:
    """Measure an adapter with each place kept alone, with each left out, and as a whole by factors.

    A place is what stands in one block for one kind of site. Nothing is trained. States below the
    place are computed once: for a place alone those of the base, for one left out those of the
    whole adapter; the first of either is held against a whole forward. Started again in the same
    folder, it goes on.

    Args:
        model: The adapter's base.
        adapter: A directory written by `save_pretrained`.
        rows: Examples or records with two words or more, such as a hundred.
        out: The folder for reports, table and figures.
        every: Only each so many of the blocks, from the lowest.
        factors: By which the whole adapter is multiplied.
        progress: Whether a bar is shown.

    Raises:
        ConfigError: A setting, folder or adapter that can't be used.
        DataError: Records that can't be used.
        LoadError: There is no such model or adapter.
    """
    choice = ModelChoice(name=model) if isinstance(model, str) else model
    examples, folder = to_examples(rows), Path(out)
    _check(examples, every, factors)
    check_adapter(Path(adapter))
    check_folder(folder, "out")
    with told_if_unwritable(folder, "start it again: what is done is kept"), alone_in(folder):
        taking = _Taking(choice, Path(adapter), examples, folder, progress)
        with work(str(folder), [_PARTS], shown=progress):
            parts = taking.parts(every, factors)
            apart = TakenApart(parts=parts, reports=_reports(taking, parts))
        write_text(folder / TABLE_FILE, f"{apart}\n")
    return apart


def read_apart(folder: str | Path) -> TakenApart:
    """What is kept of an adapter that was taken apart; nothing is loaded or measured.

    Args:
        folder: As `take_apart` left it.

    Raises:
        ConfigError: It holds none that is finished.
        DataError: A report that can't be read.
    """
    folder = Path(folder)
    if not (folder / TABLE_FILE).is_file():
        raise ConfigError(f"{folder} holds no adapter taken apart to the end: go on with it first")
    kept = sorted((folder / PARTS_FOLDER).glob(f"*/{REPORT_FILE}"))
    reports = {path.parent.name: Report.load(path) for path in kept}
    parts = sorted(map(Part.named, reports), key=lambda part: part.times)
    return TakenApart(parts=parts, reports=reports)


def _reports(taking: "_Taking", parts: Sequence[Part]) -> dict[str, Report]:
    """Of each part; what it takes goes by the blocks that are run for it."""
    reports = {part.name: there for part in parts if (there := taking.kept(part)) is not None}
    costs = {part.name: taking.num_blocks(part) + 1.0 for part in parts}  # 1: the head, about
    done = sum(costs[name] for name in reports)
    with phase(_PARTS, sum(costs.values()), done=done) as measuring:
        for number, part in enumerate(parts, start=1):
            if part.name not in reports:
                measuring.name = f"{number}/{len(parts)} {part.name}"
                reports[part.name] = taking.report(part)
                measuring.advance(costs[part.name])
    return reports


@dataclass(frozen=True)
class _Taking:
    """An adapter on its base, and where its parts' reports go."""

    choice: ModelChoice
    adapter: Path
    examples: Sequence[Example]
    folder: Path
    progress: bool

    def parts(self, every: int, factors: Sequence[float]) -> list[Part]:
        """All that is measured, in an order in which states are only ever raised."""
        lowest = self._places.places[0].block
        places = [p for p in self._places.places if (p.block - lowest) % every == 0]
        return parts_of(places, factors)

    def num_blocks(self, part: Part) -> int:
        """How many are run to measure it."""
        num_blocks = len(decoder_blocks(self._adapted.get_base_model()))
        return num_blocks if part.place is None else num_blocks - part.place.block

    def kept(self, part: Part) -> Report | None:
        """Its report, if it is measured."""
        return self._store.find(part.name, self._settings(part))

    def report(self, part: Part) -> Report:
        """Measured, and kept."""
        asked = OwnExamples(rows=self._resolved)
        with self._states_below(part), self._places.scaled(part.factor):
            report = measure(self._subject, asked)
        self._store.keep(part.name, report, self._settings(part))
        return report

    def _settings(self, part: Part) -> dict[str, Any]:
        return {**self._record, "part": part.name, **OwnExamples(rows=self.examples).record()}

    @contextmanager
    def _states_below(self, part: Part) -> Iterator[None]:
        """Inside, what is below the part's place is served from states where these can be kept."""
        trunk = self._raised(part)
        if trunk is None:
            yield
            return
        self._check_once(trunk, part)
        with trunk.installed():
            yield

    def _raised(self, part: Part) -> Trunk | None:
        """States that enter the part's block; None where there are none, or the model has none."""
        trunk = self._trunks.get(part.kind)
        if trunk is None or part.place is None or part.place.block == 0:
            return None
        below = Part(NONE if part.kind == ONLY else ALL)
        try:
            with self._places.scaled(below.factor):
                trunk.raise_to(part.place.block)
        except ConfigError as error:
            say(f"{error}; every forward runs all blocks")
            self._trunks.clear()
            return None
        return trunk

    def _check_once(self, trunk: Trunk, part: Part) -> None:
        """Hold the first of each kind against whole forwards."""
        if part.kind in self._checked:
            return
        tries = self._encoder.encode_all(self._resolved[:_CHECKED])
        batch = make_batch(tries, self._encoder).to(self._adapted.device)
        with torch.no_grad(), self._places.scaled(part.factor):
            whole = row_logits(self._adapted, batch)
            with trunk.installed():
                ours = row_logits(self._adapted, batch)
        apart = float((ours - whole).norm() / whole.norm())
        if not apart < most_apart(self._adapted.dtype):
            raise ConfigError(
                f"{part.name}: logits by kept states differ from whole forwards' by {apart:.1e}, "
                "relative, which is too much: this model can't be taken apart"
            )
        self._checked.add(part.kind)

    @cached_property
    def _checked(self) -> set[str]:
        """Kinds of parts whose states were held against whole forwards."""
        return set()

    @cached_property
    def _trunks(self) -> dict[str, Trunk]:
        """By kind of part, of the trees of all examples."""
        encoded = self._encoder.encode_asked(self._resolved)
        tries = (*encoded.tries, *encoded.rotations)
        batches = [make_batch([trie], self._encoder) for trie in tries]
        trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
        return {
            kind: Trunk(self._adapted, trees, is_fixed=True, progress=self.progress)
            for kind in (ONLY, WITHOUT)
        }

    @cached_property
    def _resolved(self) -> list[Example]:
        """With upper bounds as targets, by the base: states kept of an adapter don't serve it."""
        with switched_off(self._adapted):
            return resolve_at_most(self._adapted, self._encoder, self.examples)

    @cached_property
    def _encoder(self) -> Encoder:
        return model_encoder(self._adapted, self._subject.tokenizer)

    @property
    def _adapted(self) -> Any:
        return self._subject.model

    @cached_property
    def _loaded(self) -> tuple[LocalModel, LoraPlaces]:
        model, tokenizer = self.choice.load()
        sites = adaptable_sites(model)
        adapted: PeftModel = load_adapter(model, self.adapter)
        subject = LocalModel(model=adapted, tokenizer=tokenizer, progress=self.progress)
        return subject, LoraPlaces(adapted, sites)

    @property
    def _subject(self) -> LocalModel:
        return self._loaded[0]

    @property
    def _places(self) -> LoraPlaces:
        return self._loaded[1]

    @cached_property
    def _record(self) -> dict[str, Any]:
        return {**self.choice.record(), "adapter": adapter_record(self.adapter)}

    @cached_property
    def _store(self) -> Store:
        return Store(self.folder / PARTS_FOLDER)


def _check(examples: Sequence[Example], every: int, factors: Sequence[float]) -> None:
    if not any(len(example.target.words) > 1 for example in examples):
        raise ConfigError("no example has two words, so there is no control to see: give others")
    if every < 1:
        raise ConfigError(f"every is {every}, expected 1 or more")
    if bad := [factor for factor in factors if not 0 <= factor < float("inf")]:
        raise ConfigError(f"factors has {bad[0]}, expected numbers of at least 0")
