"""Model + batch → exact log-probabilities of words. The only place where they are computed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.batching import Batch, TreeBatch, in_batches, make_batch, make_next_batch
from distmatch.data.distribution import OtherRule, WordDistribution
from distmatch.data.examples import Example, Prompt
from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.errors import DataError, renumbered
from distmatch.losses.log_probs import log_probs_of
from distmatch.losses.words import WordLogProbs, word_log_probs
from distmatch.models.attention import Tree, tree_inputs
from distmatch.models.finite import check_finite
from distmatch.models.forwards import Forward, in_eval_mode, plain_logits
from distmatch.models.head import (
    HeadInput,
    is_checkpointing,
    predicting_rows,
    stopped_before_head,
    unwrapped,
)
from distmatch.models.proof import forward_way
from distmatch.models.trunk import installed_trunk
from distmatch.processes import shared_out

_NOTHING_LEFT = 1e-5


class Score(NamedTuple):
    """Natural log-probabilities of one prompt's words and of everything else."""

    log_probs: Float[Tensor, " words"]
    log_other: Float[Tensor, ""]


def score(  # noqa: PLR0913 - what an Example holds
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    words: Sequence[str],
    *,
    prefill: str = "",
    boundary: str | None = None,
    forms: Sequence[str] = (),
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Score:
    """Exact log-probabilities of the words as the answer to one prompt, without gradient.

    Args:
        model: A causal language model, adapted or not.
        tokenizer: Its tokenizer.
        prompt: Plain text to be continued, or messages for the chat template.
        words: Any strings: of one token or many, also several words.
        prefill: Text the answer already begins with.
        boundary: What must follow a word: `"end_of_turn"` (default for chat prompts),
            `"end_of_word"` (default for plain text) or `"none"`.
        forms: `"bare"`, `"space"`, `"capital"`; a word's probability is the sum over them.
            Default: one form, the way it would be written in this place.
        chat_template_kwargs: What the chat template is told besides, such as
            `{"reasoning_effort": "low"}`.

    Raises:
        DataError: A word or prompt that can't be scored; the message says why.
    """
    if isinstance(words, str):
        raise DataError(f"expected a list of words, got the string {words!r}")
    uniform = WordDistribution(tuple(words), (1 / max(len(words), 1),) * len(words))
    example = Example(
        prompt=tuple(prompt) if not isinstance(prompt, str) else prompt,
        target=uniform,
        prefill=prefill,
        boundary=boundary,
        forms=tuple(forms),
        chat_template_kwargs=chat_template_kwargs or {},
    )
    encoder = model_encoder(model, tokenizer)
    scores = score_tries(model, encoder, [encoder.encode(example)])
    return Score(scores.words[0], scores.other[0])


def model_encoder(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """The encoder for a model: its context length, and every id that ends its turn."""
    base = unwrapped(model)
    config = base.config.get_text_config()  # type: ignore[union-attr, operator]
    ends = getattr(getattr(base, "generation_config", None), "eos_token_id", None)
    end_ids = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    length = getattr(config, "max_position_embeddings", None)
    num_rows = base.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    return Encoder(tokenizer, end_ids, length, num_rows)


def score_batch(model: nn.Module, batch: Batch) -> WordLogProbs:
    """Exact log-probabilities of every example's words and of other, with gradient.

    Args:
        model: A causal language model, adapted or wrapped or not, in the mode it is to run in.
        batch: On any device; moved to the model's.
    """
    logits = row_logits(model, batch)
    return word_log_probs(logits, batch.to(logits.device))


def score_tries(
    model: nn.Module,
    encoder: Encoder,
    tries: Sequence[TokenTrie],
    *,
    batch_size: int = 32,
    progress: str | None = None,
    shared: bool = False,
) -> WordLogProbs:
    """Log-probabilities for any number of examples, without gradient and in evaluation mode.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        encoder: What made the tries.
        tries: The examples.
        batch_size: Examples a forward.
        progress: What it is called where progress is shown; None: it isn't shown.
        shared: Whether processes that ask for the same now each do their share of the forwards,
            to the same numbers (`processes.shared_out`).

    Returns:
        Float32 on the CPU, in the tries' order; words padded with -inf.
    """
    num_words = max((len(trie.target.words) for trie in tries), default=0)
    words = torch.full((len(tries), num_words), -torch.inf, dtype=torch.float32)
    other = torch.full((len(tries),), -torch.inf, dtype=torch.float32)
    # Neighbours share prompts, so a batch of them is cheap; results go back to their places.
    order = sorted(range(len(tries)), key=lambda i: tries[i].prompt_ids)
    batches = in_batches(order, batch_size)

    def scores_of(which: Sequence[int]) -> WordLogProbs:
        scores = score_batch(model, make_batch([tries[i] for i in which], encoder))
        return WordLogProbs(*(part.float().cpu() for part in scores))

    with in_eval_mode(model), torch.no_grad():
        found = shared_out(batches, scores_of, shared=shared, progress=progress)
    for which, scores in zip(batches, found, strict=True):
        words[which, : scores.words.shape[1]] = scores.words
        other[which] = scores.other
    return WordLogProbs(words, other)


def next_log_probs(
    model: nn.Module, sequences: Sequence[TokenIds], *, batch_size: int = 32
) -> Iterator[Float[Tensor, "batch vocab"]]:
    """Log-probabilities of every token after each sequence, without gradient, in evaluation mode.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        sequences: Token ids of each. Neighbours that begin alike are fed once as far as they do.
        batch_size: Sequences a forward.

    Yields:
        Of as many sequences, float32 on the CPU, in their order.
    """
    for some in in_batches(sequences, batch_size):
        batch = make_next_batch(some)
        with in_eval_mode(model), torch.no_grad():
            logits = row_logits(model, batch)
        yield log_probs_of(logits).cpu()


def resolve_at_most(
    base: nn.Module, encoder: Encoder, examples: Sequence[Example], *, batch_size: int = 32
) -> list[Example]:
    """The examples with every upper bound turned into a target.

    Where `other` is `"at_most"`, each word's target becomes the smaller of its bound and its
    probability under the base, and the rest is to keep the base's shape.

    Args:
        base: The model without its adapters.
        encoder: Of its tokenizer.
        examples: Any examples; the others come back as they are.
        batch_size: Examples a forward.

    Raises:
        DataError: Upper bounds of examples that can't be scored, each with its number.
    """
    bounded = [i for i, example in enumerate(examples) if example.target.other == "at_most"]
    with renumbered(bounded, "row"):
        tries = encoder.encode_all([examples[i] for i in bounded])
    scores = score_tries(base, encoder, tries, batch_size=batch_size)
    resolved = list(examples)
    for i, base_probs in zip(bounded, scores.words.exp().tolist(), strict=True):
        target = examples[i].target
        probs = tuple(min(bound, p) for bound, p in zip(target.probs, base_probs, strict=False))
        rest = 1.0 - math.fsum(probs)
        # Where the base says nothing but these words, there is no shape to keep.
        other: float | OtherRule = "preserve" if rest > _NOTHING_LEFT else max(rest, 0.0)
        resolved[i] = replace(examples[i], target=WordDistribution(target.words, probs, other))
    return resolved


def row_logits(model: nn.Module, batch: TreeBatch) -> Float[Tensor, "rows vocab"]:
    """Logits at the places that predict, at least float32, in the fastest way the model takes.

    Which that is, is found at the model's first use (`models.proof.forward_way`); all ways give the
    same numbers. Where a `Trunk` is installed, the forward begins above what it keeps. The batch is
    moved to the model's device.

    Raises:
        LoadError: The model takes no way.
        DivergedError: In evaluation mode without gradient, where numbers aren't finite.
    """
    batch = batch.to(unwrapped(model).device)  # type: ignore[arg-type]
    forward = _forward(model)
    with _above_trunk(model, batch):
        logits = forward(model, batch)
    if not (torch.is_grad_enabled() or model.training):  # a step's loss is watched by the trainer
        check_finite(logits, model, lambda: forward(model, batch))
    return logits if logits.dtype == torch.float64 else logits.float()


def logits_and_text_states(
    model: nn.Module, batch: Batch
) -> tuple[Float[Tensor, "rows vocab"], HeadInput]:
    """As `row_logits`, and what enters the head for the texts beside the examples: one forward.

    Args:
        model: As of `row_states`.
        batch: With texts; moved to the model's device.
    """
    base: Any = unwrapped(model)
    batch = batch.to(base.device)
    with (
        _above_trunk(model, batch) as tree,
        predicting_rows(model, batch.row_tokens, batch.text_tokens) as kept,
    ):
        logits = model(**tree_inputs(base, tree)).logits
    return logits if logits.dtype == torch.float64 else logits.float(), kept[0]


def row_states(model: nn.Module, batch: TreeBatch) -> HeadInput:
    """What enters the head at the places that predict, with gradient.

    Args:
        model: One that takes trees in one forward (`models.proof.forward_way`).
        batch: Moved to the model's device.
    """
    base: Any = unwrapped(model)
    batch = batch.to(base.device)
    with (
        _above_trunk(model, batch) as tree,
        stopped_before_head(model, batch.row_tokens) as states,
    ):
        model(**tree_inputs(base, tree))
    return states[0]


@contextmanager
def _above_trunk(model: nn.Module, batch: TreeBatch) -> Iterator[Tree]:
    """Inside, a forward on the batch's trees begins above what a trunk keeps, if one is there."""
    trunk = installed_trunk(model)
    tree = Tree(batch.ids, batch.depths, batch.ends)
    with trunk.beneath(tree) if trunk else nullcontext():
        yield tree


def _forward(model: nn.Module) -> Forward:
    way = forward_way(model)
    if way.name == "cache" and any(is_checkpointing(m) and m.training for m in model.modules()):
        return plain_logits  # checkpointing drops the cache
    return way.forward
