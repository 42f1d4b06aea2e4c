"""Chats that a model writes by itself, both sides of them: what it is to stay near itself on.

Behind the template's own header of a user's message a chat model writes what users ask (Xu et al.,
"Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing", 2024), and
then answers it. No corpus is needed, and nothing in it is foreign to the model.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Message, Prompt
from distmatch.data.prompts import (
    end_of_turn_ids,
    render_slot,
    special_ids,
    thinking_slot,
    user_slot,
)
from distmatch.errors import ConfigError, DataError
from distmatch.models.adapters import switched_off
from distmatch.sampling import own_draws, sample_tokens
from distmatch.thinking import sample_thoughts, with_thought

_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class OwnChats:
    """Chats of a model's own, and its answers to questions of yours.

    Raises:
        ConfigError: A number below 0, or none of either.
    """

    n: int = 96
    """How many chats of which it writes both sides."""
    questions: Sequence[Prompt] = ()
    """Which it answers besides."""
    beside: Sequence[Prompt] = ()
    """Texts of yours, which stand among its own."""
    thinks: bool | None = None
    """Whether it thinks before it answers; None: where its template has thoughts written."""
    user_tokens: int = 80
    """A longer message of a user's is passed over."""
    thought_tokens: int = 256
    """Where a thought is cut off."""
    answer_tokens: int = 160
    """Where an answer is cut off."""
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.n < 0 or not (self.n or self.questions):
            raise ConfigError(f"own chats: n is {self.n}, expected 1 or more, or questions")
        for name in ("user_tokens", "thought_tokens", "answer_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"own chats: {name} is {getattr(self, name)}, expected 1 or more")
        for number, question in enumerate(self.questions):
            if isinstance(question, str) or question[-1]["role"] != "user":
                raise ConfigError(
                    f"own chats: question {number} ({question!r:.60}) isn't messages of which the "
                    "last is a user's, to be answered"
                )

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse a tokenizer that tells no message of a user's.

        Raises:
            DataError: It has no chat template, and both sides are to be written.
        """
        if self.n:
            user_slot(tokenizer)

    def __call__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, progress: bool = True
    ) -> list[Prompt]:
        """The chats as messages, a user's and an assistant's, and texts of yours, in random order.

        Args:
            model: Of which its base writes, without its adapter.
            tokenizer: With a chat template.
            progress: With progress bars.

        Raises:
            DataError: A tokenizer without a template, or a model that writes no messages of users
                that are short enough, or no answers that its template takes.
        """
        with own_draws(), switched_off(model):
            torch.manual_seed(self.seed)
            writer = _Writer(self, model, tokenizer, progress=progress)
            asked = [({"role": "user", "content": text},) for text in writer.questions()]
            chats = [*writer.answered([*asked, *self.questions]), *self.beside]
        random.Random(f"{self.seed}/own chats").shuffle(chats)
        return chats


@dataclass(frozen=True)
class _Writer:
    """A model that writes chats."""

    how: OwnChats
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    progress: bool

    def questions(self) -> list[str]:
        """Different messages of users, whole and short enough."""
        if not self.how.n:
            return []
        opened, closed = user_slot(self.tokenizer)
        ends, found = self._ends(), dict[str, None]()
        for _ in range(_ROUNDS):
            if not (lacking := self.how.n - len(found)):
                break
            limit = self.how.user_tokens
            written = sample_tokens(
                self.model,
                [opened] * lacking,
                ends,
                max_tokens=limit,
                batch_size=self.how.batch_size,
                progress="what users ask" if self.progress else None,
            )
            for tokens in written:
                text, is_ended, _ = self._text(tokens).partition(closed.strip() or "\0")
                if text.strip() and (is_ended or len(tokens) < limit):
                    found.setdefault(text.strip())
        if len(found) < self.how.n:
            raise DataError(
                f"the model wrote {len(found)} different messages of users in {_ROUNDS} rounds, "
                f"expected {self.how.n}, of up to {self.how.user_tokens} tokens each: ask for "
                "fewer or longer ones, or give a file of chats"
            )
        return list(found)

    def answered(self, asked: Sequence[Prompt]) -> list[Prompt]:
        """The prompts, each with an answer; those without one that the template takes left out.

        Raises:
            DataError: None got one.
        """
        begun = [*asked]
        if self._thinks(begun[0]):
            thoughts = sample_thoughts(
                self.model,
                self.tokenizer,
                [(prompt, {}) for prompt in asked],
                max_tokens=self.how.thought_tokens,
                batch_size=self.how.batch_size,
                progress=self.progress,
            )
            begun = [with_thought(p, thought) for p, thought in zip(asked, thoughts, strict=True)]
        written = sample_tokens(
            self.model,
            [render_slot(self.tokenizer, prompt).ids for prompt in begun],
            self._ends(),
            max_tokens=self.how.answer_tokens,
            batch_size=self.how.batch_size,
            progress="answers" if self.progress else None,
        )
        texts = [self._text(tokens).strip() for tokens in written]
        chats = [_with_answer(p, text) for p, text in zip(begun, texts, strict=True) if text]
        chats = [chat for chat in chats if self._is_written(chat)]
        if not chats:
            raise DataError("the model answers nothing: give a file of chats in place of its own")
        return chats

    def _thinks(self, prompt: Prompt) -> bool:
        if self.how.thinks is not None:
            return self.how.thinks
        try:
            thinking_slot(self.tokenizer, prompt)
        except DataError:
            return False
        return True

    def _is_written(self, chat: Prompt) -> bool:
        """Whether the template writes it: some cut what looks like the end of a thought."""
        try:
            render_slot(self.tokenizer, chat)
        except DataError:
            return False
        return True

    def _ends(self) -> frozenset[int]:
        return special_ids(self.tokenizer) | set(end_of_turn_ids(self.tokenizer))

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))


def _with_answer(prompt: Prompt, answer: str) -> Prompt:
    messages: list[Message] = [dict(message) for message in prompt]  # type: ignore[arg-type]
    thought = messages.pop() if messages[-1]["role"] == "assistant" else {"role": "assistant"}
    return (*messages, {**thought, "content": answer})
