"""A model whose weights are here, as suites ask it."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.batching import in_batches
from distmatch.data.examples import Example, Prompt
from distmatch.data.prompts import special_ids, turn_end
from distmatch.data.trie import Encoder, TokenIds
from distmatch.errors import converted
from distmatch.evals.items import Answers
from distmatch.evals.subject import (
    Capability,
    Drift,
    IsEnough,
    Subject,
    Written,
    checked_examples,
)
from distmatch.evals.ways import Thought, Way, ways_of_asking
from distmatch.measuring.drift import TEXTS_A_FORWARD, answer_drift, slot_drift, text_drift
from distmatch.measuring.metrics import Ratio
from distmatch.measuring.outcomes import outcomes_of
from distmatch.models.adapters import switched_off
from distmatch.models.cast_once import CastOnce
from distmatch.models.head import unwrapped
from distmatch.models.loading import mixed_dtype
from distmatch.models.proof import forward_way
from distmatch.processes import shared_out
from distmatch.sampling import IsDone, own_draws, sample_tokens
from distmatch.scoring import model_encoder, next_log_probs, resolve_at_most
from distmatch.search import LikelyAnswers, likely_answers

Batch = TypeVar("Batch")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class LocalModel(Subject):
    """A model with its weights; it can do everything that suites ask for."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 32
    """Prompts a forward."""
    seed: int = 0
    progress: bool = True
    is_base: bool = False
    """Whether it is asked without its adapter."""
    precision: str | torch.dtype | None = None
    """In which products are computed, `"bfloat16"` or `"float16"`, as in mixed training; None: the
    model's own. The head's product is always accumulated in float32."""

    shared: bool = False
    """Whether all processes of a distributed run ask the same: each does its share, batches that it
    would do alone, so answers are the same to the bit. Thoughts and searches each does whole."""

    def __post_init__(self) -> None:
        """Check the precision.

        Raises:
            ConfigError: An unknown one.
        """
        mixed_dtype(self.precision)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All."""
        return frozenset(Capability)

    @property
    def ends_turns(self) -> bool:
        """Whether it has a chat template."""
        return bool(self.tokenizer.chat_template)

    def base(self) -> "LocalModel":
        """The same without its adapter; the same where it has none."""
        return replace(self, is_base=True)

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """See `Subject`; upper bounds become targets by what it says without its adapter."""
        examples = checked_examples(self._resolved(list(examples)))
        with self._asked():
            outcomes, ratios = outcomes_of(
                self.model,
                self._encoder,
                self._encoder.encode_asked(examples),
                batch_size=self.batch_size,
                progress=name if self.progress else None,
                shared=self.shared,
            )
        return Answers.of(examples, outcomes, ratios)

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """See `Subject`."""
        slots = converted(prompts, self._slot_ids, "prompt")

        def likeliest(some: Sequence[TokenIds]) -> list[list[tuple[str, float]]]:
            (log_probs,) = next_log_probs(self.model, some, batch_size=len(some))
            top = log_probs.topk(k)
            return [
                list(zip(self.tokenizer.batch_decode([[t] for t in ids]), values, strict=True))
                for ids, values in zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
            ]

        with self._asked():
            return list(chain(*self._each_of(in_batches(slots, self.batch_size), likeliest, name)))

    def ranks(
        self, spans: Sequence[tuple[Written, int, int]], most: int, name: str
    ) -> list[list[int]]:
        """See `Subject`."""
        slots = [self._slot_ids(written.prompt) for written, _, _ in spans]
        places = sorted(  # so that what begins alike is computed once
            (slot + written.tokens[:k], written.tokens[k], number)
            for number, (slot, (written, first, last)) in enumerate(zip(slots, spans, strict=True))
            for k in range(first, last)
        )
        found: list[list[int]] = [[] for _ in spans]

        def ranks_of(some: Sequence[tuple[TokenIds, int, int]]) -> list[int]:
            sequences = [sequence for sequence, _, _ in some]
            (rows,) = next_log_probs(self.model, sequences, batch_size=len(some))
            return [
                int((row > row[token]).sum()) for row, (_, token, _) in zip(rows, some, strict=True)
            ]

        with self._asked():
            ranks = chain(*self._each_of(in_batches(places, self.batch_size), ranks_of, name))
        for (_, _, number), rank in zip(places, ranks, strict=True):
            found[number].append(rank)
        return found

    def likely_answers(
        self, prompts: Sequence[Prompt], unexplored: float, most_opened: int, name: str
    ) -> list[LikelyAnswers]:
        """See `Subject`."""
        with self._asked():
            return likely_answers(
                self.model,
                self._encoder,
                prompts,
                unexplored=unexplored,
                most_opened=most_opened,
                batch_size=self.batch_size,
                progress=name if self.progress else None,
            )

    def drift(
        self,
        texts: Sequence[Prompt],
        slots: Sequence[Prompt],
        name: str,
        answers: Sequence[Written] = (),
    ) -> list[Drift]:
        """See `Subject`."""
        ids = self._encoder.encode_texts(texts)
        ends = converted(slots, self._slot_ids, "prompt")
        written = [(self._slot_ids(one.prompt), self._to_its_end(one)) for one in answers]
        a_forward = min(self.batch_size, TEXTS_A_FORWARD)
        batches = [
            *(partial(text_drift, texts=some) for some in in_batches(ids, a_forward)),
            *(partial(slot_drift, slots=some) for some in in_batches(ends, self.batch_size)),
            *(partial(answer_drift, answers=some) for some in in_batches(written, a_forward)),
        ]
        with self._asked():
            rows = self._each_of(batches, lambda drift: _rows(drift(self.model)), name)
        return list(chain(*rows))

    def _to_its_end(self, answer: Written) -> TokenIds:
        """The answer's tokens, behind which its end counts, too, if it wasn't cut off."""
        end = turn_end(self.tokenizer) if self.ends_turns and not answer.is_cut else None
        return answer.tokens if end is None else (*answer.tokens, end)

    def write(
        self,
        prompts: Sequence[Prompt],
        max_tokens: Sequence[int],
        is_enough: IsEnough,
        name: str,
    ) -> list[Written]:
        """See `Subject`; texts of like length are written together."""
        slots = converted(prompts, self._slot_ids, "prompt")
        order = sorted(range(len(slots)), key=lambda i: max_tokens[i])
        starts = range(0, len(order), self.batch_size)

        def texts_of(start: int) -> list[Written]:
            which = order[start : start + self.batch_size]
            # Each batch has its own seed: how long the one before it went on must not matter
            torch.manual_seed(random.Random(f"{self.seed}/{name}/{start}").getrandbits(63))
            texts = sample_tokens(
                self.model,
                [slots[i] for i in which],
                special_ids(self.tokenizer),
                max_tokens=max(max_tokens[i] for i in which) + 1,  # tells cut from ended
                batch_size=self.batch_size,
                is_done=self._is_done([(i, slots[i], max_tokens[i]) for i in which], is_enough),
            )
            return [
                self._written(prompts[i], slots[i], tokens, max_tokens[i])
                for i, tokens in zip(which, texts, strict=True)
            ]

        with self._asked(), own_draws():
            written = dict(zip(order, chain(*self._each_of(starts, texts_of, name)), strict=True))
        return [written[i] for i in range(len(slots))]

    def _written(self, prompt: Prompt, slot: TokenIds, tokens: TokenIds, most: int) -> Written:
        kept, is_cut = tokens[:most], len(tokens) > most
        steps = self._texts(slot, [kept[:k] for k in range(len(kept) + 1)])
        return Written(prompt, steps[-1], tuple(map(len, steps)), is_cut, kept)

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Subject`; exactly."""
        return [len(self.tokenizer(x, add_special_tokens=False)["input_ids"]) for x in texts]

    def exact_num_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Subject`."""
        return self.num_tokens(texts)

    def ways(self) -> list[Way]:
        """See `Subject`."""
        return ways_of_asking(self.tokenizer)

    def think(
        self,
        asked: Sequence[tuple[Way, Example]],
        num_thoughts: int,
        max_tokens: Callable[[Way], int],
        name: str,
    ) -> list[list[Thought]]:
        """See `Subject`."""
        thoughts: list[list[Thought]] = [[] if way.slot else [Thought()] for way, _ in asked]
        with self._asked(), own_draws():
            torch.manual_seed(self.seed)
            for way in dict.fromkeys(way for way, _ in asked if way.slot):
                rows = [row for row, (other, _) in enumerate(asked) if other == way]
                examples = [asked[row][1] for row in rows for _ in range(num_thoughts)]
                written = self._thoughts(way, examples, max_tokens(way), name)
                for place, thought in enumerate(written):
                    thoughts[rows[place // num_thoughts]].append(thought)
        return thoughts

    @cached_property
    def _encoder(self) -> Encoder:
        return model_encoder(self.model, self.tokenizer)

    def _slot_ids(self, prompt: Prompt) -> TokenIds:
        return self._encoder.slot(prompt).ids

    def _resolved(self, examples: list[Example]) -> list[Example]:
        """Upper bounds as targets, by what the model says without its adapter."""
        if all(example.target.other != "at_most" for example in examples):
            return examples
        with self._asked(), switched_off(self.model):
            return resolve_at_most(self.model, self._encoder, examples, batch_size=self.batch_size)

    def _thoughts(
        self, way: Way, examples: Sequence[Example], max_tokens: int, name: str
    ) -> list[Thought]:
        assert way.slot is not None
        tokenizer = self.tokenizer
        slots = [way.slot(tokenizer, example) for example in examples]
        written = sample_tokens(
            self.model,
            [slot.ids for slot in slots],
            frozenset[int]().union(*(slot.ends for slot in slots)),
            max_tokens=max_tokens,
            batch_size=self.batch_size,
            progress=f"{name}: {way.name}" if self.progress else None,
        )
        thoughts = []
        for slot, tokens in zip(slots, written, strict=True):
            (whole,) = tokenizer.batch_decode([list(tokens)], clean_up_tokenization_spaces=False)
            text, ended, _ = whole.partition(way.end or "\0")
            up_to_end = tokenizer(text, add_special_tokens=False)["input_ids"] if ended else tokens
            is_cut = not ended and len(tokens) >= max_tokens
            thought = text.strip() if way.end else slot.thought(text)
            thoughts.append(Thought(thought, len(up_to_end), is_cut))
        return thoughts

    @contextmanager
    def _asked(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.is_base:
                stack.enter_context(switched_off(self.model))
            if (dtype := mixed_dtype(self.precision)) is not None:
                forward_way(self.model)  # found in the model's own precision
                device: torch.device = unwrapped(self.model).device  # type: ignore[assignment]
                stack.enter_context(torch.autocast(device.type, dtype))
                cast = CastOnce(self.model, dtype, all_weights=True)
                stack.enter_context(cast.installed())
            yield

    def _each_of(
        self, batches: Sequence[Batch], result_of: Callable[[Batch], Result], name: str
    ) -> list[Result]:
        progress = name if self.progress else None
        return shared_out(batches, result_of, shared=self.shared, progress=progress)

    def _is_done(self, rows: Sequence[tuple[int, TokenIds, int]], is_enough: IsEnough) -> IsDone:
        """`is_enough` over the tokens of a batch.

        Args:
            rows: Of each text its prompt's number, the prompt, and the most tokens.
            is_enough: Over texts.
        """

        def is_done(row: int, tokens: TokenIds) -> bool:
            number, slot, most = rows[row]
            return len(tokens) > most or is_enough(number, self._texts(slot, [tokens])[0])

        return is_done

    def _texts(self, prompt: TokenIds, continuations: Sequence[TokenIds]) -> list[str]:
        """What continuations of a prompt say."""
        anchor = prompt[-1:]  # since a token's text at the start may lack its space
        lead, *wholes = self.tokenizer.batch_decode(
            [[*anchor, *tokens] for tokens in [(), *continuations]],
            clean_up_tokenization_spaces=False,
        )
        return [whole[len(lead) :] for whole in wholes]


def _rows(ratios: Mapping[str, Ratio]) -> list[Drift]:
    """A batch's ratios, an item each."""
    parts = zip(*(torch.stack(ratio, dim=1).tolist() for ratio in ratios.values()), strict=True)
    return [{n: (a, b) for n, (a, b) in zip(ratios, part, strict=True)} for part in parts]
