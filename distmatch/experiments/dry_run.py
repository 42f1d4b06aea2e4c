"""What an experiment would teach and ask, before any model is loaded."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from distmatch.data.examples import Example, Prompt
from distmatch.data.jsonl import fingerprint
from distmatch.evals import FunctionSubject, Suite
from distmatch.evals.suites.probes import LineByLine, OwnProbe, WrittenLines, WrittenProbe
from distmatch.experiments.arms import Unit
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.units import suites_of


def prompts_of(experiment: Experiment) -> dict[str, list[Prompt]]:
    """All prompts, by what they are for.

    Of an arm's units whose names differ in a number alone, `trained-00` and `trained-01`, those of
    the first, and of each other what it is told, and prompts that only it has.

    Args:
        experiment: Any.

    Returns:
        Of suites that ask a model for more than its words' probabilities, none.
    """
    experiment = replace(experiment, thinking="")  # what is asked is the same behind a thought
    seen: dict[tuple[str, str], set[str]] = {}
    known: dict[str, list[Prompt]] = {}
    found: dict[str, list[Prompt]] = {}
    for unit in experiment.units:
        kind = (unit.arm, re.sub(r"-\d+", "", unit.name))
        prompts = _of_unit(experiment, unit, known)
        if kind in seen:
            prompts = {
                heading: new
                for heading, some in prompts.items()
                if (new := [prompt for prompt in some if _untold(prompt) not in seen[kind]])
            }
            if unit.system:
                found[f"{unit.arm} ({unit.name}) is told"] = [unit.system]
        found |= prompts
        shown = (_untold(prompt) for some in prompts.values() for prompt in some)
        seen.setdefault(kind, set()).update(shown)
    return found


def _of_unit(
    experiment: Experiment, unit: Unit, known: dict[str, list[Prompt]]
) -> dict[str, list[Prompt]]:
    """What a unit learns and is asked; of suites that others are asked as well, as known."""
    name = f"{unit.arm} ({unit.name})"
    learned = (("learns", unit.rows), ("learns besides", unit.formats))
    found = {f"{name} {kind}": [_begun(row) for row in rows] for kind, rows in learned if rows}
    if unit.retention:
        chats = unit.retention.chats
        own = f"{chats.n} chats of the base's own, and " if chats.n else ""
        found[f"{name} stays near {own}its answers to"] = list(chats.questions)
    for suite in suites_of(experiment, unit):
        key = f"{suite.name} {fingerprint(suite.record())}"
        known[key] = known.get(key) or _asked(suite)
        found[f"{name} is asked {suite.name}"] = known[key]
    return found


def _untold(prompt: Prompt) -> str:
    """A prompt without its system message, to tell those that differ in that alone."""
    if isinstance(prompt, str):
        return prompt
    return str([message for message in prompt if message["role"] != "system"])


def longest_rows(experiment: Experiment) -> list[Example]:
    """The rows of which a step's batch takes most: prompt and words together."""
    rows = [row for unit in experiment.units for row in (*unit.rows, *unit.formats)]
    return sorted(rows, key=_length, reverse=True)[: experiment.batch_size]


def most_texts(experiment: Experiment) -> tuple[int, int]:
    """How many texts of the base's own accompany a step at most, and of how many tokens each."""
    kept = [unit.retention for unit in experiment.units if unit.retention]
    return max(((o.per_step, o.tokens) for o in kept), key=math.prod, default=(0, 0))


def _length(row: Example) -> int:
    """In characters, with what follows each word counted as one."""
    return len(str(row.prompt)) + sum(len(word) + 1 for word in row.target.words)


def _asked(suite: Suite) -> list[Prompt]:
    if isinstance(suite, WrittenProbe | WrittenLines | LineByLine | OwnProbe):
        return suite.prompts()
    asked: list[Example] = []
    subject = FunctionSubject(probs_of=partial(_uniform, asked))
    if suite.needs <= subject.capabilities:
        suite.items(subject)
    return [_begun(example) for example in asked]


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
