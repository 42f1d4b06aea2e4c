"""A subject that is a function from a question to probabilities: what a suite asks, tried out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from distmatch.data.examples import Example
from distmatch.evals.items import Answers
from distmatch.evals.subject import Capability, Subject, checked_examples
from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import Outcomes, metric_ratios

ProbsOf = Callable[[Example], Sequence[float]]
NumTokensOf = Callable[[str], int]


def _num_words(text: str) -> int:
    return len(text.split())


@dataclass(frozen=True, kw_only=True)
class FunctionSubject(Subject):
    """Answers as a function says; such as one that tells the truth, or says the same to anything.

    A suite, probe or experiment that can't tell such subjects apart says nothing about a model.
    """

    probs_of: ProbsOf
    """Of an example the probability of each of its words; what they leave is of other."""
    base_probs_of: ProbsOf | None = None
    """Of its base; None: it is its own."""
    num_tokens_of: NumTokensOf = _num_words
    """How many tokens a text has; unless given, as many as words."""
    seed: int = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Words' probabilities, a base, and numbers of tokens."""
        return frozenset({Capability.WORDS, Capability.BASE, Capability.TOKENS})

    @property
    def ends_turns(self) -> bool:
        """As if it had a chat template."""
        return True

    def base(self) -> "FunctionSubject":
        """See `Subject`."""
        return replace(self, probs_of=self.base_probs_of or self.probs_of, base_probs_of=None)

    def exact_num_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Subject`."""
        return [self.num_tokens_of(text) for text in texts]

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """See `Subject`."""
        examples = checked_examples(examples)
        width = max(len(example.target.words) for example in examples)
        target = torch.zeros(len(examples), width + 1, dtype=torch.float64)
        probs = torch.zeros(len(examples), width + 1, dtype=torch.float64)
        is_word = torch.zeros(len(examples), width, dtype=torch.bool)
        for row, example in enumerate(examples):
            count = len(example.target.words)
            given = torch.tensor([*self.probs_of(example)], dtype=torch.float64)
            probs[row, :count], probs[row, -1] = given, (1 - given.sum()).clamp(min=0)
            target[row, :count] = torch.tensor(example.target.probs, dtype=torch.float64)
            target[row, -1] = example.target.other_prob
            is_word[row, :count] = True
        scores = WordLogProbs(probs[:, :-1].log(), probs[:, -1].log())
        is_free = torch.tensor([example.target.other == "free" for example in examples])
        outcomes = Outcomes(scores, target, is_word, is_free)
        return Answers.of(examples, outcomes, metric_ratios(outcomes))
