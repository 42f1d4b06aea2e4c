"""What an experiment would teach and ask, before any model is loaded."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from distmatch.data.examples import Example, Prompt
from distmatch.evals import FunctionSubject
from distmatch.evals.suites.probes import LineByLine, WrittenLines, WrittenProbe
from distmatch.experiments.experiment import Experiment, Unit
from distmatch.experiments.units import suites_of


def prompts_of(experiment: Experiment) -> dict[str, list[Prompt]]:
    """All prompts, by what they are for.

    Of an arm's units whose names differ in a number alone, `trained-00` and `trained-01`, those of
    the first.

    Args:
        experiment: Any.

    Returns:
        Of suites that ask a model for more than its words' probabilities, none.
    """
    experiment = replace(experiment, thinking="")  # what is asked is the same behind a thought
    firsts: dict[tuple[str, str], Unit] = {}
    for unit in experiment.units:
        firsts.setdefault((unit.arm, re.sub(r"-\d+", "", unit.name)), unit)
    found: dict[str, list[Prompt]] = {}
    for unit in firsts.values():
        name = f"{unit.arm} ({unit.name})"
        for kind, rows in (("learns", unit.rows), ("learns besides", unit.formats)):
            if rows:
                found[f"{name} {kind}"] = [_begun(row) for row in rows]
        found |= _asked(experiment, unit, name)
    return found


def longest_rows(experiment: Experiment) -> list[Example]:
    """The rows of which a step's batch takes most: prompt and words together."""
    rows = [row for unit in experiment.units for row in (*unit.rows, *unit.formats)]
    return sorted(rows, key=_length, reverse=True)[: experiment.batch_size]


def _length(row: Example) -> int:
    """In characters, with what follows each word counted as one."""
    return len(str(row.prompt)) + sum(len(word) + 1 for word in row.target.words)


def _asked(experiment: Experiment, unit: Unit, name: str) -> dict[str, list[Prompt]]:
    found = {}
    for suite in suites_of(experiment, unit):
        if isinstance(suite, WrittenProbe | WrittenLines | LineByLine):
            found[f"{name} is asked {suite.name}"] = suite.prompts()
            continue
        asked: list[Example] = []
        subject = FunctionSubject(probs_of=partial(_uniform, asked))
        if suite.needs <= subject.capabilities:
            suite.items(subject)
        found[f"{name} is asked {suite.name}"] = [_begun(example) for example in asked]
    return found


def _uniform(kept: list[Example], example: Example) -> Sequence[float]:
    kept.append(example)
    return [1 / len(example.target.words)] * len(example.target.words)


def _begun(example: Example) -> Prompt:
    """The prompt with the answer that is begun."""
    prompt = example.prompt
    if not example.prefill:
        return prompt
    if isinstance(prompt, str):
        return f"{prompt} {example.prefill}"
    return [*prompt, {"role": "assistant", "content": example.prefill}]
