"""Thinking: does a model that thinks before it answers control its answer better, or worse?

The same questions are asked in several ways (`evals/ways.py`), with and without a thought before
the answer. Thoughts are sampled at temperature 1. Behind each of them the answer's distribution is
exact; what somebody sees who asks often is their mean, and that is what is measured.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from distmatch.data.examples import Example, plain_prompt
from distmatch.data.tasks.output_control import OutputControl
from distmatch.evals.items import Answers
from distmatch.evals.metric import WORD_METRICS, Metric
from distmatch.evals.mixtures import mixed
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite
from distmatch.evals.ways import Way


@dataclass(frozen=True, kw_only=True)
class Thinking(Suite):
    """The suite `thinking`."""

    name: ClassVar[str] = "thinking"
    question: ClassVar[str] = "Does thinking before the answer help?"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *WORD_METRICS,
        Metric("spread", "TVD of the answer behind one thought from the mean of all"),
        Metric("thought_tokens", "tokens before an answer"),
        Metric("cut_off", "share of thoughts that were too long"),
    )
    compared: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.WORDS, Capability.THOUGHTS})
    draws_text: ClassVar[bool] = True
    questions: int = 40
    thoughts: int = 8
    """About each question."""
    max_tokens: int = 512
    """Of a thinking channel."""
    max_stepwise_tokens: int = 96
    """Of a thought in plain words."""

    def items(self, subject: Subject) -> Answers:
        """The mixture of the subject's answers to each question asked in each way."""
        drawn = list(enumerate(self.examples(subject.seed)))
        asked = [(way, number, way.ask(q)) for way in subject.ways() for number, q in drawn]
        thoughts = subject.think(
            [(way, e) for way, _, e in asked], self.thoughts, self._most_tokens, self.name
        )
        behind = [
            way.behind(example, thought.text)
            for (way, _, example), some in zip(asked, thoughts, strict=True)
            for thought in some
        ]
        each = subject.answers(behind, f"{self.name}: answers")
        mixtures = mixed(each, [row for row, some in enumerate(thoughts) for _ in some])
        probs = iter(each.probs.tolist())
        ones = np.ones(len(asked))
        tokens = np.array([np.mean([thought.num_tokens for thought in some]) for some in thoughts])
        cut = np.array([np.mean([thought.is_cut for thought in some]) for some in thoughts])
        return replace(
            mixtures,
            ratios={**mixtures.ratios, "thought_tokens": (tokens, ones), "cut_off": (cut, ones)},
            metadata=tuple(
                {**example.metadata, "group": way.name, "question": number}
                for way, number, example in asked
            ),
            prompts=tuple(plain_prompt(example.prompt) for _, _, example in asked),
            clusters=tuple(f"question {number}" for _, number, _ in asked),
            said=tuple(
                {"thoughts": [{"thought": one.text, "given": next(probs)} for one in some]}
                for some in thoughts
            ),
        )

    def examples(self, seed: int = 0) -> list[Example]:
        """The questions: two given words.

        Args:
            seed: Decides all that is drawn.
        """
        drawn = OutputControl(words=(2,)).draw(1, self.questions, seed, "thinking")[1]
        return [replace(example, rotations=()) for example in drawn]

    def _most_tokens(self, way: Way) -> int:
        return self.max_tokens if way.end is None else self.max_stepwise_tokens
