"""The published protocol of self-prediction: answers drawn, and the commonest ones compared.

Both what is answered and what is said of it are written a few times; what isn't one of the valid
answers doesn't count, and a pair counts if something of both is left. See Binder et al. (2024),
https://arxiv.org/abs/2410.13787, who draw five times.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from distmatch.data.examples import Prompt
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject

METRICS = (
    Metric(
        "drawn_agree",
        "the commonest of some written answers is named, of pairs that comply",
        "higher",
        beside="drawn_baseline",
    ),
    Metric("drawn_baseline", "the commonest value always named, of the same pairs; to beat"),
    Metric("complied", "share of pairs of which some written answers are valid, on both sides"),
)

_MOST_TOKENS = 12
_CLOSING = "\"'.,;:!? \t*`"


def written_answers(
    subject: Subject, prompts: Sequence[Prompt], draws: int, name: str
) -> list[list[str]]:
    """What is written to each prompt, its first line up to a quotation mark.

    Args:
        subject: Whoever is asked.
        prompts: Any number; one that stands there twice is answered twice.
        draws: How many to each.
        name: What the progress bar is called.
    """
    asked = [prompt for prompt in prompts for _ in range(draws)]
    found = subject.write(
        asked, [_MOST_TOKENS] * len(asked), lambda _, text: _first(text) != text.strip(), name
    )
    texts = [_first(one.text) for one in found]
    return [texts[i : i + draws] for i in range(0, len(texts), draws)]


def _first(text: str) -> str:
    """Up to what ends a word that was begun within quotation marks, or a line."""
    return text.strip().lstrip('"').split("\n")[0].split('"')[0]


def valid_answers(texts: Iterable[str], valid: Sequence[str]) -> list[str]:
    """Those of the texts that are one of the valid answers, as it is written there.

    Capitals, and marks around them, don't matter.

    Args:
        texts: As written.
        valid: What they may be.
    """
    known = {answer.lower(): answer for answer in valid}
    plain = (text.strip(_CLOSING).lower() for text in texts)
    return [known[text] for text in plain if text in known]


def agreements(
    names: Sequence[str], done: Sequence[Sequence[str]], said: Sequence[Sequence[str]]
) -> list[dict[str, float]]:
    """Of each pair the metrics of the protocol; NaN where it doesn't comply.

    Args:
        names: The property.
        done: The property's values of valid answers; the first of equally common ones counts.
        said: The values that were named.
    """
    modes = [(_commonest(one), _commonest(other)) for one, other in zip(done, said, strict=True)]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, (act, word) in zip(names, modes, strict=True):
        if act is not None and word is not None:
            counts[name][act] += 1
    rows = []
    for name, (act, word) in zip(names, modes, strict=True):
        if act is None or word is None:
            rows.append({"drawn_agree": np.nan, "drawn_baseline": np.nan, "complied": 0.0})
            continue
        baseline = float(act == counts[name].most_common(1)[0][0])
        rows.append(
            {"drawn_agree": float(act == word), "drawn_baseline": baseline, "complied": 1.0}
        )
    return rows


def _commonest(values: Sequence[str]) -> str | None:
    return Counter(values).most_common(1)[0][0] if values else None
