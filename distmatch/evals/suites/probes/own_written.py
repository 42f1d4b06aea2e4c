"""Self-prediction by written answers, of which the commonest are compared.

After the protocol of Binder et al. (2024, https://arxiv.org/abs/2410.13787): what is answered, and
what is said of it in one wording, are each written a few times; what isn't one of the valid answers
doesn't count, and a pair counts if something of both is left. They write at temperature 0, here it
is 1.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from distmatch.data.examples import Prompt
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suites.probes.own_scores import commonest_offered
from distmatch.evals.suites.probes.properties import PROPERTIES, Values

METRICS = (
    Metric(
        "written_agree",
        "the commonest of some written answers is named, of pairs that comply",
        "higher",
        beside="written_baseline",
    ),
    Metric("written_baseline", "the commonest value always named, of the same pairs; to beat"),
    Metric("complied", "share of pairs of which some written answers are valid, on both sides"),
)

_MOST_TOKENS = 12
_AROUND = "\"'.,;:!? \t*`()"
_MARK = '"'


def written_answers(
    subject: Subject, prompts: Sequence[Prompt], times: int, begun: str, name: str
) -> list[list[str]]:
    """What is written to each prompt, of the first line what stands within quotation marks.

    Args:
        subject: Whoever is asked.
        prompts: Any number.
        times: How many answers to each.
        begun: The answers' own beginning, in which a quotation mark may have been opened.
        name: What the progress bar is called.
    """
    is_open = begun.count(_MARK) % 2 == 1
    asked = [prompt for prompt in prompts for _ in range(times)]
    found = subject.write(
        asked,
        [_MOST_TOKENS] * len(asked),
        lambda _, text: ended(text, is_open=is_open) is not None,
        name,
    )
    texts = [ended(one.text, is_open=is_open) or _opened(one.text, is_open) for one in found]
    return [texts[i : i + times] for i in range(0, len(texts), times)]


def ended(text: str, *, is_open: bool) -> str | None:
    """The answer, if it has ended: at a quotation mark behind it, or at the line's end.

    Args:
        text: As far as it is written.
        is_open: Whether a quotation mark was opened before it.
    """
    said = _opened(text, is_open)
    ends = [place for place in (said.find(_MARK), said.find("\n")) if place >= 0]
    return said[: min(ends)] if ends else None


def _opened(text: str, is_open: bool) -> str:
    """Without the mark that opens it."""
    said = text.lstrip()
    return said if is_open else said.removeprefix(_MARK)


def valid_answers(texts: Iterable[str], valid: Sequence[str]) -> list[str]:
    """Those of the texts that are one of the valid answers, as it is written there.

    Capitals, and marks around them, don't matter.

    Args:
        texts: As written.
        valid: What they may be.
    """
    known = {answer.lower(): answer for answer in valid}
    plain = (text.strip(_AROUND).lower() for text in texts)
    return [known[text] for text in plain if text in known]


def one_worded(texts: Iterable[str]) -> list[str]:
    """Those of the texts that are a word and no more, which no refusal is.

    Args:
        texts: As written.
    """
    plain = (text.strip(_AROUND) for text in texts)
    return [text for text in plain if text.isalpha()]


def agreements(
    names: Sequence[str],
    values: Sequence[Sequence[str]],
    done: Sequence[Sequence[str]],
    said: Sequence[Sequence[str]],
) -> list[Values]:
    """Of each pair the metrics of the protocol; NaN where it doesn't comply.

    Args:
        names: The property.
        values: What it may be.
        done: What it is of each valid answer; the first of equally common ones counts.
        said: What it was said to be.
    """
    modes = [(_commonest(one), _commonest(other)) for one, other in zip(done, said, strict=True)]
    acts = [act if word is not None else None for act, word in modes]
    baselines = commonest_offered(names, values, acts)
    return [
        {
            "written_agree": np.nan if act is None else float(act == word),
            "written_baseline": np.nan if act is None else float(act == baseline),
            "complied": float(act is not None),
        }
        for act, (_, word), baseline in zip(acts, modes, baselines, strict=True)
    ]


def properties_of(answers: Iterable[str], name: str) -> list[str]:
    """What answers are like.

    Args:
        answers: Valid ones.
        name: The property's.
    """
    return [PROPERTIES[name].of(answer) for answer in answers]


def _commonest(values: Sequence[str]) -> str | None:
    return Counter(values).most_common(1)[0][0] if values else None
