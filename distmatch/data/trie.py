"""Words as token paths from the answer slot, and what must follow them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Prompt, checked_prompt
from distmatch.data.prompts import (
    Slot,
    continues_word,
    end_of_turn_ids,
    is_spaceless,
    joined,
    render_slot,
    special_ids,
    turn_end,
)
from distmatch.errors import DataError, converted

TokenIds = tuple[int, ...]

_TEXT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class TokenTrie:
    """One example for one tokenizer: the prompt's ids, and each word's paths from the slot.

    Only the canonical tokenisation of each form is a path; other token spellings of the same
    string belong to other.
    """

    prompt_ids: TokenIds
    paths: tuple[tuple[TokenIds, ...], ...]
    """For each word, for each form, its token ids."""
    boundary: str
    target: WordDistribution
    per_token: bool = False
    """Whether its loss is a mean over the tokens of its word."""

    @property
    def loss_tokens(self) -> int:
        """What its loss is divided by."""
        return sum(map(len, self.paths[0])) + (self.boundary != "none") if self.per_token else 1

    @property
    def nodes(self) -> list[TokenIds]:
        """Every place that predicts, as the tokens since the slot; the slot, (), comes first.

        These are the paths' proper prefixes, and the paths themselves where something must follow.
        """
        nodes: dict[TokenIds, None] = {(): None}
        for path in self.all_paths:
            last = len(path) if self.boundary == "none" else len(path) + 1
            nodes.update(dict.fromkeys(path[:length] for length in range(1, last)))
        return sorted(nodes)

    @property
    def all_paths(self) -> list[TokenIds]:
        """The paths of all words, in order."""
        return [path for forms in self.paths for path in forms]


class AskedTries(NamedTuple):
    """Examples made ready for measuring: each as it is, and with its numbers rotated."""

    tries: list[TokenTrie]
    rotations: list[TokenTrie]
    rotation_of: list[int]
    """Which example each rotation belongs to."""


class Encoder:
    """Turns examples into tries for one tokenizer.

    Args:
        tokenizer: A tokenizer.
        end_ids: More ids that end a turn: the model's `generation_config.eos_token_id`.
        max_length: The model's context in tokens; None: the tokenizer's `model_max_length`.
        num_rows: Of how many ids the model has embeddings; None: of all.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: Iterable[int] = (),
        max_length: int | None = None,
        num_rows: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.num_rows = num_rows
        ends = {*end_of_turn_ids(tokenizer), *end_ids}
        self.end_ids = tuple(sorted(i for i in ends if num_rows is None or i < num_rows))
        self.max_length = max_length or tokenizer.model_max_length
        self._special_ids = special_ids(tokenizer)
        self._sets: dict[str, Bool[Tensor, " vocab"]] = {}

    def encode(self, example: Example) -> TokenTrie:
        """The example's trie.

        Raises:
            DataError: A word that can't follow the prompt, contains special tokens, coincides
                with another or overlaps it under the boundary; or a sequence past the context.
        """
        slot = self.slot(example.prompt, example.prefill, example.chat_template_kwargs)
        default = "end_of_turn" if slot.is_chat else "end_of_word"
        trie = TokenTrie(
            slot.ids,
            tuple(self._paths(slot, word, example.forms) for word in example.target.words),
            example.boundary or default,
            example.target,
            example.per_token,
        )
        self._check(trie)
        self._check_rows(sum(trie.all_paths, ()))
        return trie

    def slot(
        self, prompt: Prompt, prefill: str = "", template_kwargs: Mapping[str, Any] | None = None
    ) -> Slot:
        """The prompt up to its answer slot: see `render_slot`.

        Raises:
            DataError: As there, or a token that the model has no embedding for.
        """
        slot = render_slot(self.tokenizer, prompt, prefill, template_kwargs)
        self._check_rows(slot.ids)
        return slot

    def _check_rows(self, ids: TokenIds) -> None:
        if self.num_rows is not None and ids and max(ids) >= self.num_rows:
            token = self.tokenizer.convert_ids_to_tokens(max(ids))
            raise DataError(
                f'the token "{token}" has the id {max(ids)}, and the model has rows for '
                f"{self.num_rows} ids: give the model's own tokenizer, or call "
                "model.resize_token_embeddings(len(tokenizer)) first"
            )

    def encode_all(self, examples: Iterable[Example], name: str = "row") -> list[TokenTrie]:
        """The tries of all examples.

        Raises:
            DataError: Up to 20 of the examples that `encode` refuses, each with its number.
        """
        return converted(examples, self.encode, name)

    def encode_asked(self, examples: Sequence[Example]) -> AskedTries:
        """Some examples, with their rotations.

        Raises:
            DataError: Examples that can't be encoded, each with its number.
        """
        rotated = [(i, r) for i, example in enumerate(examples) for r in example.rotated()]
        return AskedTries(
            self.encode_all(examples),
            self.encode_all([example for _, example in rotated], "rotation"),
            [i for i, _ in rotated],
        )

    def encode_texts(
        self, texts: Iterable[Prompt], max_tokens: int = _TEXT_TOKENS
    ) -> list[TokenIds]:
        """Ids of ordinary texts or conversations; an answer that is the last has its end, too.

        Args:
            texts: Strings or messages.
            max_tokens: Where each is cut.

        Raises:
            DataError: Up to 20 texts that aren't one, or with fewer than two tokens, so nothing
                to predict; each with its number. Or one string instead of several.
        """
        if isinstance(texts, str):
            raise DataError(f"expected a list of texts, got the string {texts[:80]!r}")
        return converted(texts, lambda text: self._encode_text(text, max_tokens), "text")

    def _encode_text(self, text: Prompt, max_tokens: int) -> TokenIds:
        slot = self.slot(checked_prompt(text, "text"))
        answers = slot.is_chat and text[-1]["role"] == "assistant"  # type: ignore[index]
        end = turn_end(self.tokenizer) if answers else None
        ids = (*slot.ids, *([] if end is None else [end]))[:max_tokens]
        if len(ids) < 2:
            raise DataError(f"{text!r} has fewer than two tokens")
        return ids

    def boundary_set(self, boundary: str) -> Bool[Tensor, " vocab"]:
        """Which of the tokenizer's ids may follow a complete word; cached."""
        if boundary not in self._sets:
            size = max(len(self.tokenizer), max(self.end_ids, default=-1) + 1)
            members = torch.zeros(size, dtype=torch.bool)
            members[list(self.end_ids)] = True
            if boundary == "end_of_word":
                members |= torch.tensor([not continues_word(text) for text in self._texts(size)])
            self._sets[boundary] = members
        return self._sets[boundary]

    def _texts(self, size: int) -> Sequence[str]:
        """What each id adds to a text before it.

        Decoded after an anchor, since a token's text at the start may lack its space.
        """
        anchor = self.tokenizer("a", add_special_tokens=False)["input_ids"][-1]
        lead = len(self.tokenizer.decode([anchor]))
        texts = self.tokenizer.batch_decode(
            [[anchor, i] for i in range(size)], clean_up_tokenization_spaces=False
        )
        return [text[lead:] for text in texts]

    def _paths(self, slot: Slot, word: str, forms: Sequence[str]) -> tuple[TokenIds, ...]:
        paths = dict.fromkeys(self._path(slot, word, form) for form in forms or (None,))
        return tuple(paths)  # forms that coincide ("Red" capitalised) count once

    def _path(self, slot: Slot, word: str, form: str | None) -> TokenIds:
        text = joined(slot, word, form)
        ids = self.tokenizer(slot.text + text, add_special_tokens=False)["input_ids"]
        lead = len(slot.ids)
        joint = (*slot.added, *ids)
        if joint[:lead] != slot.ids:
            raise DataError(self._cant_follow(slot, text, joint))
        path = joint[lead:]
        special = [i for i in path if i in self._special_ids]
        if special:
            raise DataError(
                f'the word "{word}" contains special tokens '
                f"{self.tokenizer.convert_ids_to_tokens(special)}, which can't be part of an answer"
            )
        if not path:
            raise DataError(f'the word "{word}" has no tokens under this tokenizer')
        return path

    def _cant_follow(self, slot: Slot, text: str, joint: TokenIds) -> str:
        cause = (
            "the prompt or prefill ends in white space, which the tokenizer joins to the word: "
            "remove it; words are joined by a space"
            if slot.text[-1:].isspace()
            else "the tokenizer merges the end of the prompt with the word: end the prompt at a "
            "space-separated word or line, or choose another form"
        )
        common = next(
            (k for k, (a, b) in enumerate(zip(slot.ids, joint, strict=False)) if a != b),
            min(len(slot.ids), len(joint)),
        )
        alone = self.tokenizer.convert_ids_to_tokens(list(slot.ids[common:]))
        return (
            f"{text!r} can't follow the prompt, which ends in {slot.text[-20:]!r} (tokens {alone} "
            f"change when the word follows): {cause}"
        )

    def _check(self, trie: TokenTrie) -> None:
        words = trie.target.words
        owner: dict[TokenIds, str] = {}
        for word, forms in zip(words, trie.paths, strict=True):
            for path in forms:
                if path in owner:
                    raise DataError(
                        f'"{owner[path]}" and "{word}" are the same tokens in one of their forms: '
                        "merge them or ask for fewer forms"
                    )
                owner[path] = word
            if trie.boundary == "end_of_word" and is_spaceless(word[-1]):
                raise DataError(
                    f'"{word}" ends in a script without spaces between words, where end_of_word '
                    'has no meaning: give boundary="end_of_turn" or "none"'
                )
        for path, word in owner.items():
            for length in range(1, len(path)):
                self._check_prefix(trie, owner.get(path[:length]), word, path[length])
        if trie.boundary == "end_of_turn" and not self.end_ids:
            raise DataError(
                "no token is known to end a turn, so under end_of_turn no word would ever be "
                "complete: set tokenizer.eos_token or generation_config.eos_token_id, or give "
                'boundary="end_of_word" or "none"'
            )
        longest = len(trie.prompt_ids) + max(map(len, owner))
        if longest > self.max_length:
            raise DataError(
                f"prompt and longest word take {longest} tokens, more than the model's context of "
                f"{self.max_length}: shorten the prompt"
            )

    def _check_prefix(self, trie: TokenTrie, short: str | None, word: str, follows: int) -> None:
        if short is None or (short == word and trie.boundary != "none"):
            return
        if trie.boundary == "none":
            raise DataError(
                f'"{short}" is a beginning of "{word}", so without a boundary one contains the '
                'other: give boundary="end_of_turn"'
            )
        if self.boundary_set(trie.boundary)[follows]:
            raise DataError(
                f'"{word}" is "{short}" followed by the end of a word, so under '
                f'{trie.boundary} one contains the other: give boundary="end_of_turn"'
            )
