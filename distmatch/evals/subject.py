"""What suites ask: a model with its weights, or whatever else answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example, Prompt
from distmatch.data.prompts import render_slot
from distmatch.errors import converted
from distmatch.evals.asking import answers_of
from distmatch.evals.items import Answers
from distmatch.scoring import next_log_probs


@runtime_checkable
class Subject(Protocol):
    """Whatever suites can ask."""

    @property
    def seed(self) -> int:
        """Of what a suite draws: the held-out words are those of training data of the same seed."""

    @property
    def ends_turns(self) -> bool:
        """Whether the end of a turn completes a word; else the end of the word does."""

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """What it answers, with a progress bar of this name."""

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """The likeliest first tokens of an answer to each prompt: texts and probabilities."""


@runtime_checkable
class Backend(Protocol):
    """What answers without weights, such as an `Endpoint`."""

    def subject(self, *, seed: int, progress: bool) -> Subject:
        """It, as suites ask it."""


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A model whose weights are here, as suites ask it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 32
    seed: int = 0
    progress: bool = True

    @property
    def ends_turns(self) -> bool:
        """Whether it has a chat template."""
        return bool(self.tokenizer.chat_template)

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """What it answers, with a progress bar of this name.

        Raises:
            DataError: Examples that can't be scored, each with its number.
        """
        return answers_of(
            self.model,
            self.tokenizer,
            examples,
            batch_size=self.batch_size,
            progress=name if self.progress else None,
        )

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """The likeliest first tokens of an answer to each prompt: texts and probabilities.

        Args:
            prompts: Texts or messages.
            k: How many of each.
            name: What the progress bar is called.

        Raises:
            DataError: Prompts that can't be rendered, each with its number.
        """
        slots = converted(prompts, lambda prompt: render_slot(self.tokenizer, prompt).ids, "prompt")
        found: list[list[tuple[str, float]]] = []
        with tqdm(total=len(slots), desc=name, leave=False, disable=not self.progress) as bar:
            for log_probs in next_log_probs(self.model, slots, batch_size=self.batch_size):
                top = log_probs.topk(k)
                for ids, values in zip(
                    top.indices.tolist(), top.values.exp().tolist(), strict=True
                ):
                    texts = self.tokenizer.batch_decode([[token] for token in ids])
                    found.append(list(zip(texts, values, strict=True)))
                bar.update(len(log_probs))
        return found
