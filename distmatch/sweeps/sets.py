"""The sets of examples that a sweep measures on, each in its role."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint, to_examples
from distmatch.errors import ConfigError
from distmatch.trainer.distribution_trainer import Rows

TUNING = "tuning"
"""What the set that learning rates are chosen by is called."""

NAME = re.compile(r"[\w-]+(?: [\w-]+)*")
"""What a set of examples may be called, since its report is a file of that name."""

_IN_MESSAGES = "tuning_dataset ([tuning] in a run file)"
_One = TypeVar("_One")
_Other = TypeVar("_Other")


@dataclass(frozen=True, kw_only=True)
class Sets(Generic[_One]):
    """One thing of each set of examples, such as the examples, or a model's metrics on them."""

    learned_name: str
    """What the learned set is called."""
    learned: _One
    """Of what maps are drawn of."""
    transfer: Mapping[str, _One]
    """Of what shows how far it carries, by name."""
    tuning: _One | None = None
    """Of what learning rates are chosen by; None: each place has but one."""

    @classmethod
    def from_named(cls, named: Mapping[str, _One]) -> "Sets[_One]":
        """As files have them: the learned set first, `TUNING` by its name, the others transfer.

        Raises:
            ValueError: No set is learned.
        """
        first, *others = named
        if first == TUNING:
            raise ValueError("no set of examples comes before the one that learning rates are for")
        return cls(
            learned_name=first,
            learned=named[first],
            transfer={name: named[name] for name in others if name != TUNING},
            tuning=named.get(TUNING),
        )

    def named(self) -> dict[str, _One]:
        """By name, as files have them: the learned set first, `TUNING` last."""
        reported = {self.learned_name: self.learned, **self.transfer}
        return reported if self.tuning is None else {**reported, TUNING: self.tuning}

    def map(self, made: Callable[[str, _One], _Other]) -> "Sets[_Other]":
        """What is made of each, given its name, in the same roles."""
        return Sets.from_named({name: made(name, one) for name, one in self.named().items()})


def checked_sets(
    reported: Mapping[str, Rows], tuning: Rows | None, train: Sequence[Example]
) -> Sets[Sequence[Example]]:
    """All that cells are measured on.

    Args:
        reported: Those to report on by name, the learned one first.
        tuning: Those to choose learning rates by.
        train: Those to train on, none of which may choose.

    Raises:
        DataError: Records that can't be used.
        ConfigError: A name that can't be one, a set that is empty or tells nothing of control where
            it is needed, or tuning examples that are trained or reported on too.
    """
    if not reported:
        raise ConfigError("eval_datasets is empty: name one set of examples or more")
    for name in reported:
        _check_name(name)
    checked: dict[str, Sequence[Example]] = {
        name: to_examples(rows) for name, rows in reported.items()
    }
    if empty := [name for name, rows in checked.items() if not rows]:
        raise ConfigError(f'"{empty[0]}" in eval_datasets holds no examples: give one or more')
    sets = Sets.from_named(checked)
    if not _has_control(sets.learned):
        raise ConfigError(
            f'no example of "{sets.learned_name}" has two words, so there is no control to map: '
            "name first a set that has"
        )
    if tuning is None:
        return sets
    return replace(sets, tuning=_tuning_examples(tuning, {**checked, "train_dataset": train}))


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name == TUNING:
        raise ConfigError(
            f"{name!r} in eval_datasets can't be called so: give it a name of letters, digits, "
            f'spaces, "-" and "_" that is not "{TUNING}"'
        )


def _tuning_examples(given: Rows, others: Mapping[str, Sequence[Example]]) -> list[Example]:
    """Without rotations, since control needs none."""
    tuning = [replace(example, rotations=()) for example in to_examples(given)]
    if not tuning:
        raise ConfigError(f"{_IN_MESSAGES} is empty: give examples, or leave it out")
    if not _has_control(tuning):
        raise ConfigError(
            f"no example of {_IN_MESSAGES} has two words, so there is no control to choose "
            "learning rates by: give some that have"
        )
    for name, rows in others.items():
        prompts = {fingerprint(row.prompt) for row in rows}
        for number, row in enumerate(tuning, start=1):
            if fingerprint(row.prompt) in prompts:
                raise ConfigError(
                    f'example {number} of {_IN_MESSAGES} is in "{name}" too, so it would choose by '
                    "what is learned or reported: give others"
                )
    return tuning


def _has_control(examples: Sequence[Example]) -> bool:
    return any(len(example.target.words) > 1 for example in examples)
