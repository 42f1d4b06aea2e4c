"""Of how many tokens a text is: a fact about the model that its weights don't compute.

Longer texts have more tokens whoever counts, so numbers that go with the truth go with the number
of letters as well. What counts is what is left of the truth when all that anyone could count is
taken out: the partial rank correlation, given characters, words, and another model's tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suites.probes.items_probe import TEXT, ItemsProbe, ToldOfItem
from distmatch.evals.suites.probes.probe import VALID, Probe, ratios_of
from distmatch.evals.suites.probes.scale import ScaleProbe
from distmatch.measuring.correlation import correlation_shares
from distmatch.models.loading import load_tokenizer

_BEYOND, _OWN, _REPORT = "beyond", "own_tokens", "report"
_CHARACTERS, _WORDS, _OTHER = "characters", "words", "other_tokens"
_FEWEST = 6
"""Texts for a correlation given three other numbers."""


@dataclass(frozen=True, kw_only=True)
class TokensProbe(ItemsProbe):
    """How numbers that it says go with its own numbers of tokens, and with what anyone counts."""

    texts: tuple[str, ...]
    question: str = "Does it know how many tokens a text is?"
    high: int = 12
    """Where the scale ends; it begins at 1."""
    other_tokenizer: str = ""
    """Of another model, as for `load_model`; its counts are taken out, too. Empty: of none."""

    least: ClassVar[Mapping[str, int]] = {"high": 2}

    def each(self) -> Sequence[Probe]:
        """A scale for each text; it isn't turned around, since tokens have no opposite.

        Raises:
            ConfigError: Too few texts, or a paraphrase without a place for one.
        """
        if len(self.texts) < _FEWEST:
            raise ConfigError(
                f"{self.name}.texts has {len(self.texts)} texts, expected at least {_FEWEST}: of "
                "fewer no correlation says anything"
            )
        for text in (*self.asked, *self.referent):
            if TEXT not in text:
                raise ConfigError(f"{self.name}: {text!r} has no {TEXT}")
        return [ScaleProbe(**self._about(text), low=1, high=self.high) for text in self.texts]

    def check(self) -> None:
        """Refuse a tokenizer that isn't there.

        Raises:
            LoadError: Nothing usable is.
        """
        if self.other_tokenizer:
            load_tokenizer(self.other_tokenizer)

    def inputs(self) -> dict[str, str]:
        """The other model's numbers of tokens, whatever it is called."""
        return {_OTHER: fingerprint(self._other_tokens())} if self.other_tokenizer else {}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The correlation that only its own tokens explain, and all there are."""
        counted = [_CHARACTERS, _WORDS, *([_OTHER] if self.other_tokenizer else [])]
        return (
            Metric(_BEYOND, "rank correlation with its tokens, given all others below", "higher"),
            Metric(_OWN, "rank correlation with its numbers of tokens"),
            *(Metric(name, "rank correlation with that number") for name in counted),
            Metric(_REPORT, "the number it says"),
            Metric(VALID, "mass on valid answers; no report below one half"),
        )

    @property
    def needs(self) -> frozenset[Capability]:
        """Words' probabilities, and numbers of tokens."""
        return super().needs | {Capability.TOKENS}

    def items(self, subject: Subject) -> Items:
        """A text an item."""
        own = subject.exact_num_tokens(self.texts)
        counted = self._counted()
        told = self.told(subject)
        rows: list[dict[str, float]] = []
        for who in dict.fromkeys(one.who for one in told):
            rows += self._scores([one for one in told if one.who == who], own, counted)
        return Items(
            metadata=tuple({"group": who, "text": number} for who, number, *_ in told),
            ratios=ratios_of(rows),
            prompts=tuple(self.texts[number] for _, number, *_ in told),
            clusters=tuple(f"text {number}" for _, number, *_ in told),
            said=tuple({"tokens": own[one.number], "asked": one.asked} for one in told),
        )

    def _counted(self) -> dict[str, list[int]]:
        """What anyone can count, by name."""
        found = {
            _CHARACTERS: [len(text) for text in self.texts],
            _WORDS: [len(text.split()) for text in self.texts],
        }
        if self.other_tokenizer:
            found[_OTHER] = self._other_tokens()
        return found

    def _other_tokens(self) -> list[int]:
        tokenizer = load_tokenizer(self.other_tokenizer)
        return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in self.texts]

    def _scores(
        self, told: Sequence[ToldOfItem], own: Sequence[int], counted: Mapping[str, Sequence[int]]
    ) -> list[dict[str, float]]:
        """Of each text its share in every correlation."""
        reports = [one.figures[_REPORT] for one in told]
        shares = {
            _BEYOND: correlation_shares(reports, own, given=list(counted.values())),
            _OWN: correlation_shares(reports, own),
            **{name: correlation_shares(reports, some) for name, some in counted.items()},
        }
        return [
            {
                **{name: float(some[number]) for name, some in shares.items()},
                **{name: one.figures[name] for name in (_REPORT, VALID)},
            }
            for number, one in enumerate(told)
        ]
