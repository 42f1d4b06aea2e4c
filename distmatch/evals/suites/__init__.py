"""The questions asked of a model before and after training: a file each."""

from distmatch.evals.suite import Suite
from distmatch.evals.suites.carry_over import CarryOver
from distmatch.evals.suites.choices import Choices
from distmatch.evals.suites.deviation import Deviation
from distmatch.evals.suites.examples import OwnExamples
from distmatch.evals.suites.given import Given
from distmatch.evals.suites.knowledge import Knowledge
from distmatch.evals.suites.not_given import NotGiven
from distmatch.evals.suites.numbers import Numbers
from distmatch.evals.suites.ordinary import Ordinary
from distmatch.evals.suites.sad import Sad
from distmatch.evals.suites.sequence import Sequential
from distmatch.evals.suites.suppression import Suppression
from distmatch.evals.suites.thinking import Thinking

__all__ = [
    "SUITES",
    "CarryOver",
    "Choices",
    "Deviation",
    "Given",
    "Knowledge",
    "NotGiven",
    "Numbers",
    "Ordinary",
    "OwnExamples",
    "Sad",
    "Sequential",
    "Suppression",
    "Thinking",
]

SUITES: dict[str, Suite] = {
    "given": Given(),
    "carry_over": CarryOver(),
    "not_given": NotGiven(),
    "thinking": Thinking(),
    "suppression": Suppression(),
    "numbers": Numbers(),
    "sequence": Sequential(),
    "deviation": Deviation(),
    "ordinary": Ordinary(),
    "knowledge": Knowledge(),
    "sad": Sad(),
    "choices": Choices(),
}
"""Ready ones, by name; `dataclasses.replace` gives one other settings."""
