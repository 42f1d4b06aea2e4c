"""A prompt and what is wanted of it, checked when made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distmatch.data.completions import COMPLETION, TEXT, as_word_record
from distmatch.data.distribution import WordDistribution
from distmatch.data.plain_values import as_list, checked_text, plain_value
from distmatch.errors import DataError, listed, shown, unknown_name

Message = Mapping[str, str]
Prompt = str | Sequence[Message]

BOUNDARIES = ("end_of_turn", "end_of_word", "none")
FORMS = ("bare", "space", "capital")
REQUIRED_COLUMNS = ("prompt", "words", "probs")
COLUMNS = (
    *REQUIRED_COLUMNS,
    *("other", "prefill", "boundary", "forms", "rotations", "chat_template_kwargs", "metadata"),
    "per_token",
)
_RENDERING = frozenset(
    {"conversation", "chat_template", "add_generation_prompt", "continue_final_message"}
    | {"tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"}
    | {"return_assistant_tokens_mask", "tokenizer_kwargs", "messages"}
)
"""Arguments of `apply_chat_template` that no template reads."""

_KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("words", "probs", "forms", "rotations"), ((list, tuple), "a list")),
    **dict.fromkeys(("prefill", "boundary"), (str, "a string")),
    **dict.fromkeys(("chat_template_kwargs", "metadata"), (Mapping, "an object")),
    "per_token": (bool, "true or false"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt and the distribution wanted at its answer slot.

    A string prompt is plain text to be continued; messages (`role`, `content`) go through the
    tokenizer's chat template, or are joined by blank lines where there is none. A last message of
    the assistant is continued; what a reasoning model thought before it answers stands there too,
    as `thinking`, whatever the template's own name for it.

    Raises:
        DataError: An empty prompt, a malformed message, an unknown boundary or form, or a reasoning
            effort that is no text.
    """

    prompt: Prompt
    target: WordDistribution
    prefill: str = ""
    """The answer's own beginning, already written; no trailing space."""
    boundary: str | None = None
    """What must follow a word: one of `BOUNDARIES`. None: `end_of_turn` for chat prompts of a
    tokenizer with a template, else `end_of_word`."""
    forms: tuple[str, ...] = ()
    """Ways each word may appear in the slot, from `FORMS`. Empty: exactly one, as a writer would
    join the word to the text before it."""
    rotations: tuple[Prompt, ...] = ()
    """The same question with its numbers moved over its words: prompt i asks for `probs` rolled
    to the right by i + 1. Either none or one for each word but the first."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is told besides, such as `{"reasoning_effort": "low"}`; a template
    passes over what it doesn't read."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    per_token: bool = False
    """Of an example with one word: whether its loss is divided by the word's tokens, what completes
    it included, as is usual for texts."""

    def __post_init__(self) -> None:
        """Check everything that can be checked without a tokenizer."""
        object.__setattr__(self, "prompt", checked_prompt(self.prompt))
        object.__setattr__(self, "forms", tuple(self.forms))
        rotations = tuple(checked_prompt(p, "rotation") for p in self.rotations)
        object.__setattr__(self, "rotations", rotations)
        if rotations and len(rotations) != len(self.target.words) - 1:
            raise DataError(
                f"{len(rotations)} rotations for {len(self.target.words)} words, "
                f"expected {len(self.target.words) - 1} (or none)"
            )
        if self.boundary is not None and self.boundary not in BOUNDARIES:
            raise DataError(unknown_name("boundary", self.boundary, BOUNDARIES))
        for form in self.forms:
            if form not in FORMS:
                raise DataError(unknown_name("form", form, FORMS))
        checked_text(self.prefill, "the prefill")
        if self.per_token and len(self.target.words) > 1:
            raise DataError(
                f"per_token is for one word, and there are {len(self.target.words)}: leave it out"
            )
        for name in ("metadata", "chat_template_kwargs"):
            object.__setattr__(self, name, plain_value(getattr(self, name), name))
        for name in self.chat_template_kwargs:
            if name in _RENDERING:
                raise DataError(
                    f'chat_template_kwargs: "{name}" can\'t be given, as it says how a prompt is '
                    "rendered, not what the template reads: leave it out"
                )
        effort = self.chat_template_kwargs.get("reasoning_effort", "low")
        if not isinstance(effort, str) or not effort:
            raise DataError(f'reasoning_effort is {effort!r}, expected a name such as "low"')

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Example":
        """The example a record describes; absent and None columns take their defaults.

        A record with `completion` instead of words and probs, or with `text` alone, is one whose
        word has probability 1.

        Raises:
            DataError: An unknown or missing column, or a value `Example` refuses.
        """
        record = as_word_record(record)
        for column in record:
            if column not in COLUMNS:
                known = (*COLUMNS, COMPLETION, TEXT)
                raise DataError(unknown_name("column", str(column), known))
        given = {column: as_list(value) for column, value in record.items() if value is not None}
        for column in REQUIRED_COLUMNS:
            if column not in given:
                raise DataError(f'column "{column}" is missing; the record has {listed(record)}')
        for column, value in given.items():
            kind, name = _KINDS.get(column, (object, ""))
            if not isinstance(value, kind):
                raise DataError(f'column "{column}" must be {name}, got {shown(value)}')
        if not all(isinstance(form, str) for form in given.get("forms", ())):
            raise DataError(f'column "forms" must hold strings, got {shown(given["forms"])}')
        target = WordDistribution(
            tuple(given.pop("words")), tuple(given.pop("probs")), given.pop("other", 0.0)
        )
        given["prompt"] = checked_prompt(given["prompt"], "prompt")
        told = given.get("chat_template_kwargs", {})  # `datasets` fills what a row lacks with None
        given["chat_template_kwargs"] = {k: v for k, v in told.items() if v is not None}
        rotations = given.pop("rotations", ())
        given["rotations"] = tuple(checked_prompt(prompt, "rotation") for prompt in rotations)
        return cls(target=target, forms=tuple(given.pop("forms", ())), **given)

    def to_record(self) -> dict[str, Any]:
        """The record `from_record` reads back, without columns that hold their default."""
        record: dict[str, Any] = {
            "prompt": plain_prompt(self.prompt),
            "words": list(self.target.words),
            "probs": list(self.target.probs),
            "other": self.target.other,
            "prefill": self.prefill,
            "boundary": self.boundary,
            "forms": list(self.forms),
            "rotations": [plain_prompt(prompt) for prompt in self.rotations],
            "chat_template_kwargs": dict(self.chat_template_kwargs),
            "metadata": dict(self.metadata),
            "per_token": self.per_token,
        }
        return {
            column: value
            for column, value in record.items()
            if column in REQUIRED_COLUMNS or value not in (0.0, "", None, [], {})
        }

    def rotated(self) -> list["Example"]:
        """The examples its rotations ask for: all but the first rotation, which is itself."""
        probs = self.target.probs
        return [
            replace(
                self,
                prompt=prompt,
                rotations=(),
                target=replace(self.target, probs=probs[-shift:] + probs[:-shift]),
            )
            for shift, prompt in enumerate(self.rotations, start=1)
        ]


def checked_prompt(prompt: Any, name: str = "prompt") -> Prompt:
    """The prompt, its messages as plain dicts.

    Raises:
        DataError: Neither a string nor messages, or there is nothing in it.
    """
    prompt = as_list(prompt)
    if isinstance(prompt, str):
        if not prompt.strip():
            raise DataError(f"the {name} is empty")
        return checked_text(prompt, f"the {name}")
    if not isinstance(prompt, (list, tuple)):
        raise DataError(f"the {name} must be a string or a list of messages, got {shown(prompt)}")
    if not prompt:
        raise DataError(f"the {name} has no messages")
    for message in prompt:
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise DataError(
                f'a message of the {name} needs "role" and "content", got {shown(message)}'
            )
        if not isinstance(message["role"], str) or not isinstance(message["content"], str):
            raise DataError(f"role and content of a message must be strings, got {shown(message)}")
    if not any(message["content"].strip() for message in prompt):
        raise DataError(f"every message of the {name} is empty")
    # `datasets` gives every message the keys of all, filled with None.
    return tuple(
        {
            key: plain_value(value, f'the {name}\'s message {number}, "{key}",')
            for key, value in message.items()
            if value is not None
        }
        for number, message in enumerate(prompt, start=1)
    )


def checked_messages(messages: Any, name: str) -> Sequence[Message]:
    """Messages, as plain dicts; no text.

    Raises:
        DataError: Something else, or there is nothing in them.
    """
    prompt = checked_prompt(messages, name)
    if isinstance(prompt, str):
        raise DataError("messages must be a list of messages, got a string")
    return prompt


def plain_prompt(prompt: Prompt) -> str | list[dict[str, str]]:
    """The prompt as JSON has it."""
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
