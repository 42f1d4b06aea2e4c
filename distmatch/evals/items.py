"""What was measured: each item asked, what a model gave, and what counts towards each metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distmatch.data.examples import Example, Prompt, plain_prompt
from distmatch.losses.words import support_log_probs
from distmatch.measuring.intervals import Ratios, clustered
from distmatch.measuring.metrics import Outcomes, Ratio, policy_ratio, renormalised

ANSWER = "answer"
"""What was said in writing, among what was said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """What was asked, and what counts towards each metric; in every array an item a row."""

    metadata: tuple[dict[str, Any], ...]
    ratios: Ratios
    """Each metric's numerators and denominators."""
    prompts: tuple[Prompt, ...] = ()
    """What the model was given; empty, or of every item."""
    clusters: tuple[str, ...] = ()
    """Items of one cluster are resampled together, since they are alike; empty: each alone."""
    said: tuple[dict[str, Any], ...] = ()
    """What the model said, where no metric tells; empty, or of every item."""

    @property
    def resampled(self) -> Ratios:
        """The ratios of what is resampled: of clusters their sums."""
        return clustered(self.ratios, self.clusters)

    def __len__(self) -> int:
        """How many."""
        return len(self.metadata)

    def subset(self, rows: Sequence[int]) -> "Items":
        """Some of the items, in the given order."""
        return type(self)(**self._taken(rows))

    def row(self, index: int) -> dict[str, Any]:
        """One item as plain JSON: its metrics, and what is known of it."""
        return {
            **{
                name: plain(top[index] / bottom[index]) if bottom[index] else None
                for name, (top, bottom) in self.ratios.items()
            },
            **{name: getattr(self, field)[index] for name, field in self._kept()},
            "metadata": self.metadata[index],
        }

    def _kept(self) -> list[tuple[str, str]]:
        """Names in a row, and fields, of what every item has besides."""
        named = [("prompt", "prompts"), ("cluster", "clusters"), ("said", "said")]
        return [(name, field) for name, field in named if getattr(self, field)]

    def _taken(self, rows: Sequence[int]) -> dict[str, Any]:
        index = np.asarray(rows, dtype=int)
        return {
            "metadata": tuple(self.metadata[row] for row in rows),
            "ratios": {name: (n[index], d[index]) for name, (n, d) in self.ratios.items()},
            **{f: tuple(getattr(self, f)[row] for row in rows) for _, f in self._kept()},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers(Items):
    """Items that ask for a distribution over words, and the distributions that a model gives."""

    words: tuple[tuple[str, ...], ...]
    asked: Float[np.ndarray, "examples words"]
    """Renormalised over the words. NaN where an example has fewer words, and for an example that
    says nothing about control: of one word, or whose words are asked for with probability 0."""
    given: Float[np.ndarray, "examples words"]
    """What the model gives, likewise."""
    target: Float[np.ndarray, "examples support"]
    """Wanted of the words and, last, of other; 0 where an example has fewer words."""
    probs: Float[np.ndarray, "examples support"]
    """What the model gives, likewise; renormalised over the words where other is free."""
    other: Float[np.ndarray, " examples"]
    """The model's probability of none of the words, never renormalised."""

    @classmethod
    def of(
        cls, examples: Sequence[Example], outcomes: Outcomes, ratios: Mapping[str, Ratio]
    ) -> "Answers":
        """Examples, what was answered to them, and what counts towards each metric, as one."""
        given, asked = (_padded(part, outcomes.is_word) for part in renormalised(outcomes))
        return cls(
            words=tuple(example.target.words for example in examples),
            metadata=tuple(dict(example.metadata) for example in examples),
            prompts=tuple(plain_prompt(example.prompt) for example in examples),
            asked=asked,
            given=given,
            target=outcomes.target.numpy(),
            probs=support_log_probs(outcomes.scores, outcomes.is_free).exp().numpy(),
            other=outcomes.scores.other.exp().numpy(),
            ratios={
                name: (ratio.numerator.double().numpy(), ratio.denominator.double().numpy())
                for name, ratio in ratios.items()
            },
        )

    def row(self, index: int) -> dict[str, Any]:
        """One example as plain JSON: words, asked and given, its metrics, what is known of it."""
        words = self.words[index]
        return {
            "words": list(words),
            "asked": plain(self.target[index, : len(words)]),
            "asked_other": plain(self.target[index, -1]),
            "given": plain(self.probs[index, : len(words)]),
            "given_other": plain(self.other[index]),
            "asked_over_words": plain(self.asked[index, : len(words)]),
            "given_over_words": plain(self.given[index, : len(words)]),
            **super().row(index),
        }

    def _taken(self, rows: Sequence[int]) -> dict[str, Any]:
        index = np.asarray(rows, dtype=int)
        arrays = ("asked", "given", "target", "probs", "other")
        taken = super()._taken(rows)
        words = tuple(self.words[row] for row in rows)
        if "policy_tvd" in self.ratios:
            taken["ratios"]["policy_tvd"] = _policy(words, self.asked[index])
        return {**taken, "words": words, **{name: getattr(self, name)[index] for name in arrays}}


def _padded(
    probs: Float[Tensor, "batch words"], is_word: Bool[Tensor, "batch words"]
) -> Float[np.ndarray, "batch words"]:
    return probs.masked_fill(~is_word, torch.nan).numpy()


def _policy(
    words: Sequence[Sequence[str]], asked: Float[np.ndarray, "examples words"]
) -> tuple[Float[np.ndarray, " examples"], Float[np.ndarray, " examples"]]:
    """Numerators and denominators of the policy that is best on these very examples."""
    counts = np.array([len(some) for some in words])
    is_word = torch.from_numpy(np.arange(asked.shape[1]) < counts[:, None])
    probs = torch.from_numpy(asked).double()
    says_nothing = (probs.isnan() & is_word).any(-1, keepdim=True)
    probs = probs.nan_to_num().masked_fill(says_nothing, torch.nan)
    ratio = policy_ratio(probs, is_word)
    return ratio.numerator.numpy(), ratio.denominator.numpy()


def items_of(content: Mapping[str, Any]) -> Items:
    """The items of a saved report's JSON."""
    rows = content["examples"]
    measured: dict[str, Any] = {
        "metadata": tuple(row["metadata"] for row in rows),
        "ratios": {
            name: (_array(ratio["numerators"], np.inf), _array(ratio["denominators"], np.nan))
            for name, ratio in content["ratios"].items()
        },
        "prompts": tuple(row["prompt"] for row in rows if "prompt" in row),
        "clusters": tuple(row["cluster"] for row in rows if "cluster" in row),
        "said": tuple(row["said"] for row in rows if "said" in row),
    }
    if not rows or "words" not in rows[0]:
        return Items(**measured)
    width = max(len(row["words"]) for row in rows)

    def padded(name: str, fill: float) -> Float[np.ndarray, "examples words"]:
        lists = [row[name] + [fill] * (width - len(row["words"])) for row in rows]
        return np.stack([_array(values, np.nan) for values in lists])

    def support(name: str) -> Float[np.ndarray, "examples support"]:
        other = np.array([[row[f"{name}_other"]] for row in rows], dtype=float)
        return np.concatenate([padded(name, 0.0), other], axis=1)

    return Answers(
        **measured,
        words=tuple(tuple(row["words"]) for row in rows),
        asked=padded("asked_over_words", np.nan),
        given=padded("given_over_words", np.nan),
        target=support("asked"),
        probs=support("given"),
        other=np.array([row["given_other"] for row in rows], dtype=float),
    )


def _array(values: Sequence[float | None], missing: float) -> Float[np.ndarray, " values"]:
    """Numbers of JSON, with what None stands for."""
    return np.array([missing if value is None else value for value in values], dtype=float)


def plain(value: Any) -> Any:
    """An array or number as JSON has it."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [plain(item) for item in value]
    # Through str: a float32 0.46 is 0.46, not 0.46000000834.
    return float(str(value)) if math.isfinite(value) else None
