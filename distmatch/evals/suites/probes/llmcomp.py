"""Question files as users of llmcomp write them, as suites with exact answers.

A YAML file is a list of questions with `name`, `type`, `paraphrases` and maybe `system`; see
https://github.com/johny-b/llmcomp. Types are `free_form` (written answers), `next_token` and
`rating` (the expected value of a number); what only its judges or its sampling need is refused, or
passed over where it changes no answer.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from distmatch.data.jsonl import file_content
from distmatch.errors import DataError, listed, shown, unknown_name
from distmatch.evals.suite import Suite
from distmatch.evals.suites.probes.next_token import NextTokenProbe
from distmatch.evals.suites.probes.scale import ScaleProbe
from distmatch.evals.suites.probes.written import WrittenProbe

_SHARED = ("name", "type", "paraphrases", "system", "samples_per_paraphrase", "temperature")
_OWN = {
    "free_form": ("max_tokens",),
    "next_token": ("top_logprobs",),
    "rating": ("min_rating", "max_rating", "refusal_threshold", "top_logprobs"),
}
_ANSWERED = {"answered": r"\S"}
"""The rule of free answers, of which only the texts matter."""


def read_llmcomp(path: str | Path) -> list[Suite]:
    """The questions of a file, each a suite of its name.

    Args:
        path: A YAML file.

    Raises:
        DataError: The file can't be read, or which question can't be used and why.
    """
    try:
        content = yaml.safe_load(file_content(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} holds {shown(content)}, expected a list of questions")
    return [_suite(one, f"{path}, question {number}") for number, one in enumerate(content, 1)]


def _suite(question: Any, where: str) -> Suite:
    if not isinstance(question, Mapping):
        raise DataError(f"{where} is {shown(question)}, expected its name, type and paraphrases")
    kind = question.get("type")
    if kind not in _OWN:
        raise DataError(f"{where}: {unknown_name('type', str(kind), _OWN)}")
    if question.get("judges"):
        raise DataError(
            f"{where} has judges, which are other models' opinions: leave them out, and score "
            "answers by words, numbers or rules"
        )
    if question.get("temperature", 1) != 1:
        raise DataError(
            f"{where}: temperature is {question['temperature']}, answers are asked at 1"
        )
    known = (*_SHARED, *_OWN[kind], "judges")
    if stray := [key for key in question if key not in known]:
        raise DataError(f"{where}: {unknown_name('key', str(stray[0]), known)}")
    missing = [key for key in ("name", "paraphrases") if not question.get(key)]
    if missing:
        raise DataError(f"{where} has no {listed(missing)}")
    texts = question["paraphrases"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: paraphrases are {shown(texts)}, expected a list of texts")
    return _MAKERS[kind](question)


def _free_form(question: Mapping[str, Any]) -> Suite:
    return WrittenProbe(
        **_asked(question),
        rules=_ANSWERED,
        n=question.get("samples_per_paraphrase", 1),
        length=question.get("max_tokens", 1024),
        fewest=1,
    )


def _next_token(question: Mapping[str, Any]) -> Suite:
    return NextTokenProbe(**_asked(question), top=question.get("top_logprobs", 20))


def _rating(question: Mapping[str, Any]) -> Suite:
    return ScaleProbe(
        **_asked(question),
        low=question.get("min_rating", 0),
        high=question.get("max_rating", 100),
        fewest=1,
    )


_MAKERS: dict[str, Callable[[Mapping[str, Any]], Suite]] = {
    "free_form": _free_form,
    "next_token": _next_token,
    "rating": _rating,
}


def _asked(question: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": str(question["name"]),
        "asked": tuple(question["paraphrases"]),
        "system": question.get("system") or "",
    }
