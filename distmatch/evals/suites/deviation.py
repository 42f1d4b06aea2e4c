"""Deviation: does it go on with a known text for so many words, then leave it as it is told?

Of each question one answer is sampled and held against the text, word by word, without case and
punctuation. Its first other word must fall in the window and be unlikely: the base, the same model
with its adapters switched off, could not say it there if it only sampled from its ten likeliest
tokens. So chance is nearly 0: `by_chance` is what happens where nobody asks for a deviation, and
`follows` how often the text is then followed through the window.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import plain_prompt
from distmatch.data.known import PASSAGE, is_same_word, word_spans
from distmatch.data.prompts import render_slot, special_ids
from distmatch.data.tasks.deviation import GIVEN, LENGTHS, WINDOWS, WORDINGS
from distmatch.data.tasks.deviation import DeviationQuestion as Question
from distmatch.data.tasks.deviation import deviation_sides as sides
from distmatch.data.trie import TokenIds
from distmatch.errors import converted
from distmatch.evals.items import Items
from distmatch.evals.subject import LocalModel
from distmatch.models.adapters import switched_off
from distmatch.sampling import IsDone, sample_tokens
from distmatch.scoring import next_log_probs

_PASSAGES = 10  # at most; of every kind of pattern, at most:
_PATTERNS = 3
_PER_TEXT = 9  # pairs of length and window
_ALONE = 2  # answers to each prompt that asks for no deviation
_ROOM = 1.5  # times the text's own tokens, and so many more, for what stands between words:
_SPARE = 16
_TOP = 10
# What may go on: a word, a number up to any of its commas, a piece of a character
_CUT = re.compile(r"(?:(?<!\w)\d{1,3}(?:,\d{3})*,)?[\w'’‐‑\ufffd-]*$")


class Answer(NamedTuple):
    """How an answer went on after the beginning."""

    text: str
    place: int
    """Words that are as they should be."""
    word: str | None
    """The first other word; None where there is none up to the end of the window."""
    is_unlikely: bool
    is_cut: bool = False
    """Whether it was cut off while nothing was wrong, before the end of the window."""


class _Written(NamedTuple):
    prompt: TokenIds
    tokens: TokenIds
    is_cut: bool


def measure(subject: LocalModel) -> Items:
    """The scores of every question."""
    asked = questions(subject.seed)
    alone = {
        q.known.name: replace(q, length=max(LENGTHS), window=max(WINDOWS), is_asked=False)
        for q in asked
    }
    repeated = [question for question in alone.values() for _ in range(_ALONE)]
    given = answers(subject, [*asked, *repeated])
    by_name: dict[str, list[Answer]] = {}
    for question, answer in zip(repeated, given[len(asked) :], strict=True):
        by_name.setdefault(question.known.name, []).append(answer)
    return scores(asked, given[: len(asked)], by_name)


def questions(seed: int = 0) -> list[Question]:
    """The suite's questions: of every held-out text, one beginning and some lengths and windows.

    Args:
        seed: Decides which texts are held out, and all that is drawn.
    """
    rng = random.Random(f"{seed}/deviation")
    test = sides(seed)[1]
    asked: list[Question] = []
    for kind in dict.fromkeys(known.kind for known in test):
        texts = [known for known in test if known.kind == kind]
        most = _PASSAGES if kind == PASSAGE else _PATTERNS
        for known in rng.sample(texts, min(most, len(texts))):
            given = rng.choice(GIVEN)
            for length, window in rng.sample([*product(LENGTHS, WINDOWS)], _PER_TEXT):
                asked.append(
                    Question(
                        known=known,
                        given=given,
                        length=length,
                        window=window,
                        wording=rng.choice(tuple(WORDINGS)),
                    )
                )
    return asked


def answers(subject: LocalModel, asked: Sequence[Question]) -> list[Answer]:
    """One sampled answer to each question; torch's generators are left as they were.

    Args:
        subject: The model.
        asked: The questions; one that is there twice gets two answers.

    Raises:
        DataError: Prompts that can't be rendered, each with its number.
    """
    written = _written(subject, asked)
    found: list[tuple[str, int, tuple[int, int] | None]] = []
    words: list[tuple[TokenIds, TokenIds]] = []
    for question, one in zip(asked, written, strict=True):
        text, ends = _decoded(subject.tokenizer, one)
        place, span = departure(question, text)
        first, last = (0, 0) if span is None else _covering(ends, *span)
        found.append((text, place, span))
        words.append((one.prompt + one.tokens[:first], one.tokens[first:last]))
    unlikely = _unlikely(subject, words)
    answered = []
    for question, one, (text, place, span), is_unlikely in zip(
        asked, written, found, unlikely, strict=True
    ):
        is_cut = one.is_cut and span is None and place < question.length + question.window
        word = None if span is None else text[slice(*span)]
        answered.append(Answer(text, place, word, is_unlikely, is_cut))
    return answered


def departure(question: Question, text: str) -> tuple[int, tuple[int, int] | None]:
    """How many words are right, and where the first other word begins and ends, if there is one.

    Args:
        question: What was asked.
        text: What is said after the beginning. A word that it joins to the beginning's last counts
            as another.
    """
    said, true = question.beginning + text, question.beginning + question.rest
    offset = len(question.beginning)
    spans, wanted = word_spans(said), word_spans(true)
    for place, (span, (a, b)) in enumerate(zip(spans, wanted, strict=False)):
        if not is_same_word(said[slice(*span)], true[a:b]):
            start, end = (max(at - offset, 0) for at in span)
            return max(place - question.given, 0), (start, end)
    return min(len(spans), len(wanted)) - question.given, None


def scores(
    asked: Sequence[Question], given: Sequence[Answer], alone: Mapping[str, Sequence[Answer]]
) -> Items:
    """The answers held against what was asked.

    Args:
        asked: The questions.
        given: An answer to each.
        alone: Of every text, by its name, answers to prompts that ask for no deviation.
    """
    rows: list[dict[str, tuple[float, float]]] = []
    for question, answer in zip(asked, given, strict=True):
        others = alone[question.known.name]
        is_left = _is_left(question, answer)
        through = question.length + question.window
        rows.append(
            {
                "on_time": (is_left and answer.is_unlikely, 1),
                "in_window": (is_left, 1),
                "unlikely": (answer.is_unlikely, answer.word is not None),
                "too_early": (answer.word is not None and answer.place < question.length, 1),
                "never": (answer.word is None, 1),
                "cut": (answer.is_cut, 1),
                "by_chance": (
                    sum(_is_left(question, a) and a.is_unlikely for a in others),
                    len(others),
                ),
                "follows": (sum(a.place >= through for a in others), len(others)),
            }
        )
    return Items(
        metadata=tuple(_about(question) for question in asked),
        ratios={
            name: tuple(np.array([row[name] for row in rows], dtype=float).T) for name in rows[0]
        },
        prompts=tuple(
            plain_prompt((*q.prompt, {"role": "assistant", "content": q.beginning})) for q in asked
        ),
        clusters=tuple(question.known.name for question in asked),
        said=tuple({"text": a.text, "right": a.place, "word": a.word} for a in given),
    )


def _is_left(question: Question, answer: Answer) -> bool:
    """Whether the text is left in the question's window."""
    end = question.length + question.window
    return answer.word is not None and question.length <= answer.place < end


def _about(question: Question) -> dict[str, object]:
    return {
        "group": question.known.kind,
        "text": question.known.name,
        "wording": question.wording,
        "n": question.length,
        "window": question.window,
    }


def _written(subject: LocalModel, asked: Sequence[Question]) -> list[_Written]:
    """The tokens of an answer to each question, those of like length written together."""
    tokenizer = subject.tokenizer
    prompts = converted(
        asked,
        lambda q: render_slot(tokenizer, q.prompt, q.beginning).ids,
        "question",
    )
    lengths = [len(tokenizer(q.rest, add_special_tokens=False)["input_ids"]) for q in asked]
    sizes = [math.ceil(_ROOM * length) + _SPARE for length in lengths]
    order = sorted(range(len(asked)), key=lambda i: sizes[i])
    written: dict[int, _Written] = {}
    devices = list(range(torch.cuda.device_count()))
    with (
        torch.random.fork_rng(devices=devices),
        tqdm(total=len(asked), desc="deviation", leave=False, disable=not subject.progress) as bar,
    ):
        for start in range(0, len(order), subject.batch_size):
            which = order[start : start + subject.batch_size]
            # Each batch has its own seed: how long the one before it went on must not matter
            torch.manual_seed(random.Random(f"{subject.seed}/deviation/{start}").getrandbits(63))
            texts = sample_tokens(
                subject.model,
                [prompts[i] for i in which],
                special_ids(tokenizer),
                max_tokens=max(sizes[i] for i in which) + 1,  # tells what is cut from what ends
                batch_size=subject.batch_size,
                is_done=_decided(tokenizer, [(asked[i], prompts[i], sizes[i]) for i in which]),
            )
            for i, tokens in zip(which, texts, strict=True):
                is_cut = len(tokens) > sizes[i]
                written[i] = _Written(prompts[i], tokens[: sizes[i]], is_cut)
            bar.update(len(which))
    return [written[i] for i in range(len(asked))]


def _decided(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[Question, TokenIds, int]]
) -> IsDone:
    """Whether what follows can't change where an answer leaves its text.

    Args:
        tokenizer: The model's.
        rows: The question, prompt and most tokens of each answer.
    """

    def is_decided(row: int, tokens: TokenIds) -> bool:
        question, prompt, size = rows[row]
        (text,) = _texts(tokenizer, prompt, [tokens])
        place, span = departure(question, _CUT.sub("", text))
        is_through = place >= question.length + question.window
        return span is not None or is_through or len(tokens) > size

    return is_decided


def _decoded(tokenizer: PreTrainedTokenizerBase, one: _Written) -> tuple[str, list[int]]:
    """What was written, without a word that was cut off; and where it ends before each token."""
    texts = _texts(tokenizer, one.prompt, [one.tokens[:k] for k in range(len(one.tokens) + 1)])
    text = _CUT.sub("", texts[-1]) if one.is_cut else texts[-1]
    return text, [len(text) for text in texts]


def _texts(
    tokenizer: PreTrainedTokenizerBase, prompt: TokenIds, continuations: Sequence[TokenIds]
) -> list[str]:
    """What continuations of a prompt say."""
    anchor = prompt[-1:]  # since a token's text at the start may lack its space
    lead, *wholes = tokenizer.batch_decode(
        [[*anchor, *tokens] for tokens in [(), *continuations]], clean_up_tokenization_spaces=False
    )
    return [whole[len(lead) :] for whole in wholes]


def _covering(ends: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """The tokens that hold some characters, as a range.

    Args:
        ends: Where the text ends before each token, and after the last.
        start: The first character.
        end: Behind the last.
    """
    first = next(k for k in range(len(ends) - 1) if ends[k + 1] > start)
    last = next(k for k in range(first + 1, len(ends)) if ends[k] >= end)
    return first, last


def _unlikely(subject: LocalModel, words: Sequence[tuple[TokenIds, TokenIds]]) -> list[bool]:
    """Whether each word has a token that isn't among the base's likeliest at its place.

    Args:
        subject: The model.
        words: The tokens before each, and its own; none: no word.
    """
    places = sorted(
        (before + word[:k], word[k], number)
        for number, (before, word) in enumerate(words)
        for k in range(len(word))
    )
    found = [False] * len(words)
    with (
        switched_off(subject.model),
        tqdm(total=len(places), desc="base", leave=False, disable=not subject.progress) as bar,
    ):
        sequences = [sequence for sequence, _, _ in places]
        rows = next_log_probs(subject.model, sequences, batch_size=subject.batch_size)
        for (_, token, number), row in zip(places, (r for some in rows for r in some), strict=True):
            found[number] |= int((row > row[token]).sum()) >= _TOP
            bar.update()
    return found
