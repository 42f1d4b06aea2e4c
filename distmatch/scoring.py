"""Model + batch → exact log-probabilities of words. The only place where they are computed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import DynamicCache, PreTrainedTokenizerBase

from distmatch.data.batching import Batch, TreeBatch, make_batch, make_next_batch
from distmatch.data.distribution import OtherRule, WordDistribution
from distmatch.data.examples import Example, Prompt
from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.errors import ConfigError, DataError, renumbered
from distmatch.losses.words import WordLogProbs, word_log_probs
from distmatch.models.attention import takes_tree_mask, tree_inputs
from distmatch.models.head import is_checkpointing, predicting_rows, unwrapped
from distmatch.models.trunk import Tree, installed_trunk

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
    return Encoder(tokenizer, end_ids, getattr(config, "max_position_embeddings", None))


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
) -> WordLogProbs:
    """Log-probabilities for any number of examples, without gradient and in evaluation mode.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        encoder: What made the tries.
        tries: The examples.
        batch_size: Examples a forward.
        progress: What a progress bar is to be called; None: no bar.

    Returns:
        Float32 on the CPU, in the tries' order; words padded with -inf.
    """
    num_words = max((len(trie.target.words) for trie in tries), default=0)
    words = torch.full((len(tries), num_words), -torch.inf)
    other = torch.full((len(tries),), -torch.inf)
    # Neighbours share prompts, so a batch of them is cheap; results go back to their places.
    order = sorted(range(len(tries)), key=lambda i: tries[i].prompt_ids)
    starts = tqdm(
        range(0, len(order), batch_size), desc=progress, leave=False, disable=progress is None
    )
    with in_eval_mode(model), torch.no_grad():
        for start in starts:
            which = order[start : start + batch_size]
            batch = make_batch([tries[i] for i in which], encoder)
            scores = score_batch(model, batch)
            words[which, : scores.words.shape[1]] = scores.words.float().cpu()
            other[which] = scores.other.float().cpu()
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
    for start in range(0, len(sequences), batch_size):
        batch = make_next_batch(sequences[start : start + batch_size])
        with in_eval_mode(model), torch.no_grad():
            logits = row_logits(model, batch)
        yield logits.float().log_softmax(-1).cpu()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards each in its own again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training


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
    """Logits at the places that predict, at least float32: one forward for the whole batch.

    Where the model honours no mask of ours, prompts run into a KV cache and words continue it,
    with the same numbers. Where a `Trunk` is installed, the forward begins above what it keeps.
    The batch is moved to the model's device.
    """
    base = unwrapped(model)
    batch = batch.to(base.device)  # type: ignore[arg-type]
    if not takes_tree_mask(base.config.get_text_config()):  # type: ignore[union-attr, operator]
        return _cached_row_logits(model, batch)
    tree = Tree(batch.ids, batch.depths, batch.ends)
    trunk = installed_trunk(model)
    with predicting_rows(model, batch.row_tokens), trunk.beneath(tree) if trunk else nullcontext():
        logits = model(**tree_inputs(base, *tree)).logits
    return logits if logits.dtype == torch.float64 else logits.float()


def _cached_row_logits(model: nn.Module, batch: TreeBatch) -> Float[Tensor, "rows vocab"]:
    """The same, one example at a time: its prompt into a cache, its branches continuing that."""
    if any(is_checkpointing(module) and module.training for module in model.modules()):
        raise ConfigError(
            "gradient checkpointing drops the KV cache that this attention implementation needs: "
            'load the model with attn_implementation="sdpa" or "eager", or turn checkpointing off'
        )
    num_rows = len(batch.row_tokens)
    logits: list[Tensor] = []
    order: list[int] = []
    for rows in batch.example_rows.tolist():
        rows = [row for row in rows if row < num_rows]
        logits.extend(_example_logits(model, batch, rows))
        order.extend(rows)
    place = torch.tensor(order, device=batch.ids.device).argsort()
    return torch.cat(logits)[place]


def _example_logits(model: nn.Module, batch: TreeBatch, rows: list[int]) -> list[Tensor]:
    sequences = [_ancestors(batch, int(batch.row_tokens[row])) for row in rows]
    prompt, nodes = sequences[0], [sequence[len(sequences[0]) :] for sequence in sequences[1:]]
    flat = batch.ids.flatten()
    device = batch.ids.device
    cache = DynamicCache(config=unwrapped(model).config)  # type: ignore[arg-type]
    with predicting_rows(model, torch.tensor([len(prompt) - 1], device=device)):
        slot = model(input_ids=flat[prompt][None], past_key_values=cache, use_cache=True).logits
    if not nodes:
        return [_at_least_float32(slot)]
    branches = _continued(model, cache, flat, len(prompt), nodes)
    return [_at_least_float32(slot), _at_least_float32(branches)]


def _continued(
    model: nn.Module,
    cache: DynamicCache,
    ids: Int[Tensor, " tokens"],
    prompt_length: int,
    nodes: list[list[int]],
) -> Float[Tensor, "rows vocab"]:
    """Logits after each of some sequences that go on from a prompt in the cache."""
    leaves = [n for n in nodes if not any(m[: len(n)] == n and m != n for m in nodes)]
    longest = max(map(len, leaves))
    padded = torch.tensor([leaf + [leaf[-1]] * (longest - len(leaf)) for leaf in leaves])
    home = [next(k for k, leaf in enumerate(leaves) if leaf[: len(n)] == n) for n in nodes]
    places = [leaf * longest + len(n) - 1 for leaf, n in zip(home, nodes, strict=True)]
    cache.batch_repeat_interleave(len(leaves))
    positions = torch.arange(prompt_length, prompt_length + longest, device=ids.device)
    with predicting_rows(model, torch.tensor(places, device=ids.device)):
        return model(
            input_ids=ids[padded.to(ids.device)],
            past_key_values=cache,
            position_ids=positions.expand(len(leaves), -1),
            use_cache=True,
        ).logits


def _ancestors(batch: TreeBatch, token: int) -> list[int]:
    """Flat indices of the sequence that ends in a token, itself included."""
    pack, place = divmod(token, batch.ids.shape[1])
    ends = batch.ends[pack, : place + 1]
    return ((ends > place).nonzero()[:, 0] + pack * batch.ids.shape[1]).tolist()


def _at_least_float32(logits: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows vocab"]:
    return logits if logits.dtype == torch.float64 else logits.float()
