"""One training step of each contestant of `peers.py`, at any size.

No step changes a weight (the learning rate is 0), so all contestants always see the same ones.
"""

import os
import random
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import torch
from machine import forget_peak, peak_so_far_mb
from peer_trainers import RANK, sft_trainer
from peft import LoraConfig, get_peft_model
from random_llama import scaled_llama, tiny_llama
from sized_examples import Size, sized_examples
from torch import Tensor, nn
from transformers import Trainer

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
from trl.experimental.gkd import GKDTrainer

import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.losses import forward_kl, jensen_shannon, support_log_probs
from distmatch.models import ModelChoice
from distmatch.scoring import model_encoder, score_batch

MOST_TOKENS = 1500
"""Of a padded micro-batch of the plain loop, whose logits take 0.3 GB then, several times."""
SCALE, TINY_SCALE = (8, 32), (64, 2)
"""What Llama 3.1 8B's widths are divided by, and how many blocks there are."""
OTHER = 0.01
"""The target's probability of other for Jensen-Shannon, since TRL's loss is NaN where it is 0."""


class Step(NamedTuple):
    """What a step took."""

    seconds: float
    scores: list[float]
    """Log-probabilities of the words, in order, as far as the step went; none of a sampled word."""
    micro_batches: int = 1
    """Of which only the first was run if they are more; the seconds are for all."""


Ready = Callable[[], Step]


def base(tokenizer: Any, *, tiny: bool) -> Any:
    """The model before it is adapted."""
    if tiny:
        return tiny_llama(tokenizer)
    return ModelChoice(name="smollm2-135m", dtype="float32").load()[0]


def ours(tokenizer: Any, size: Size, *, tiny: bool) -> Ready:
    """The library: one forward of packed trees."""
    model = dm.attach_lora(base(tokenizer, tiny=tiny), dm.lora("all", rank=RANK), seed=0)
    encoder = model_encoder(model, tokenizer)
    tries = encoder.encode_all(sized_examples(tokenizer, size))
    update = updating(model)

    def step() -> Step:
        start = perf_counter()
        batch = make_batch(tries, encoder)
        scores = score_batch(model, batch)
        forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean().backward()
        update()
        return Step(perf_counter() - start, scores.words.flatten().tolist())

    return step


def plain(tokenizer: Any, size: Size, *, tiny: bool) -> Ready:
    """Transformers and peft: prompt, word and end of turn as one padded sequence for each word.

    All logits; forward KL of a target without other is a sum over words, so micro-batches may cut
    anywhere. Where there are several, the first is run and stands for all.
    """
    model = get_peft_model(base(tokenizer, tiny=tiny), peft_config())
    encoder = model_encoder(model, tokenizer)
    tries = encoder.encode_all(sized_examples(tokenizer, size))
    width = len(tries[0].prompt_ids) + size.word_tokens
    rows = max(MOST_TOKENS // width, 1)
    paths = [(trie, path, prob) for trie in tries for path, prob in words_of(trie)]
    count = -(-len(paths) // rows)
    update = updating(model)

    def step() -> Step:
        start = perf_counter()
        scores = path_log_probs(model, [(trie, path) for trie, path, _ in paths[:rows]], encoder)
        target = torch.tensor([prob for _, _, prob in paths[:rows]])
        ((target * (target.log() - scores)).sum() / size.batch).backward()
        first = perf_counter()
        update()
        seconds = (first - start) * len(paths) / len(scores) + perf_counter() - first
        return Step(seconds, scores.tolist(), count)

    return step


def words_of(trie: TokenTrie) -> list[tuple[tuple[int, ...], float]]:
    """Each word's only path, with its target."""
    return [(path, prob) for (path,), prob in zip(trie.paths, trie.target.probs, strict=True)]


def path_log_probs(model: nn.Module, paths: list[Any], encoder: Encoder) -> Tensor:
    """Each path's log-probability behind its prompt, with the end of the turn; all logits."""
    sequences = [torch.tensor([*trie.prompt_ids, *path]) for trie, path in paths]
    ids = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(s) for s in sequences], batch_first=True)
    log_probs = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    rows = torch.arange(len(paths))[:, None]
    slots = torch.tensor([[len(trie.prompt_ids) - 1] for trie, _ in paths])
    tokens = torch.tensor([path for _, path in paths])  # of equal length here
    edges = log_probs[rows, slots + torch.arange(tokens.shape[1]), tokens].sum(-1)
    last = log_probs[rows, slots + tokens.shape[1], torch.tensor([encoder.end_ids])]
    return edges + last.logsumexp(-1)


def trl_sft(tokenizer: Any, size: Size, *, tiny: bool) -> Ready:
    """TRL's SFTTrainer: its own training step on one sampled word for each prompt."""
    settings = {"output_dir": "unused", "per_device_train_batch_size": size.batch, "seed": 0}
    settings |= {"max_length": None}
    examples = sized_examples(tokenizer, size)
    trainer = sft_trainer(base(tokenizer, tiny=tiny), tokenizer, examples, settings)
    return trainers_step(trainer)


def ours_jsd(tokenizer: Any, size: Size, *, tiny: bool) -> Ready:
    """The library's Jensen-Shannon over words of one token and other, on a scaled Llama 3.1 8B."""
    model = dm.attach_lora(scaled_llama(*(TINY_SCALE if tiny else SCALE)), dm.lora("all"), seed=0)
    tries, encoder = random_tries(model.config.vocab_size, size), Encoder(tokenizer)
    update = updating(model)

    def step() -> Step:
        start = perf_counter()
        batch = make_batch(tries, encoder)
        scores = score_batch(model, batch)
        jensen_shannon(support_log_probs(scores, batch.is_free), batch.target).mean().backward()
        update()
        return Step(perf_counter() - start, scores.words.flatten().tolist())

    return step


def trl_jsd(tokenizer: Any, size: Size, *, tiny: bool, slot_only: bool = False) -> Ready:
    """TRL's loss of the same target, spread over the whole vocabulary at the slot.

    The logits are of all positions and the others masked, as its GKDTrainer has it, or, kinder than
    that, of the slot alone.
    """
    model = get_peft_model(scaled_llama(*(TINY_SCALE if tiny else SCALE)), peft_config())
    vocab = model.config.vocab_size
    tries = random_tries(vocab, size)
    ids = torch.tensor([trie.prompt_ids for trie in tries])
    target = torch.full((size.batch, 1, vocab), OTHER / (vocab - size.words))
    for row, trie in enumerate(tries):
        target[row, 0, [path[0] for path in trie.all_paths]] = torch.tensor(trie.target.probs)
    labels = torch.full_like(ids[:, -1:] if slot_only else ids, -100)
    labels[:, -1] = 0  # any token: only whether it counts matters
    teacher = target.log().expand(-1, labels.shape[1], -1).contiguous()
    words = torch.tensor([[path[0] for path in trie.all_paths] for trie in tries])
    update = updating(model)

    def step() -> Step:
        start = perf_counter()
        logits = model(input_ids=ids, logits_to_keep=1 if slot_only else 0).logits
        GKDTrainer.generalized_jsd_loss(logits, teacher, labels, beta=0.5).backward()
        update()
        seconds = perf_counter() - start
        scores = logits[:, -1].detach().log_softmax(-1).gather(-1, words)
        return Step(seconds, scores.flatten().tolist())

    return step


def random_tries(vocab: int, size: Size) -> list[TokenTrie]:
    """Random prompts, each with its own words of one token; nothing must follow them."""
    rng = random.Random(0)
    tries = []
    for _ in range(size.batch):
        tokens = rng.sample(range(vocab), size.words)
        weights = {str(token): rng.random() for token in tokens}
        total = sum(weights.values()) / (1 - OTHER)
        probs = tuple(weight / total for weight in weights.values())
        target = dm.WordDistribution(tuple(weights), probs, OTHER)
        prompt = tuple(rng.choices(range(vocab), k=size.prompt_tokens))
        paths = tuple(((token,),) for token in tokens)
        tries.append(TokenTrie(prompt, paths, "none", target))
    return tries


def trainers_step(trainer: Trainer) -> Ready:
    """A trainer's own step on its first batch, collated each time, and an update."""
    trainer.current_gradient_accumulation_steps = 1
    loader = trainer.get_train_dataloader()
    update = updating(trainer.model)

    def step() -> Step:
        start = perf_counter()
        inputs = next(iter(loader))
        count = trainer._get_num_items_in_batch([inputs], trainer.args.device)
        trainer.training_step(trainer.model, inputs, count)
        update()
        return Step(perf_counter() - start, [])

    return step


def updating(model: nn.Module) -> Callable[[], None]:
    """Gradients clipped, AdamW at a learning rate of 0, and gradients gone."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.0, fused=True)

    def update() -> None:
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return update


def peft_config() -> LoraConfig:
    """The same LoRA in PEFT's words."""
    return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")


KINDS = {
    "ours": ours,
    "plain": plain,
    "trl_sft": trl_sft,
    "ours_jsd": ours_jsd,
    "trl_jsd": trl_jsd,
    "trl_jsd_slot": partial(trl_jsd, slot_only=True),
}


class Contestant:
    """One kind of step, at one size after the other.

    Args:
        kind: A name in `KINDS`.
        tiny: On a random model.
    """

    def __init__(self, kind: str, *, tiny: bool) -> None:
        """Load nothing yet."""
        self.kind, self.tiny = kind, tiny
        self.step: Ready | None = None

    def get_ready(self, size: Size) -> float:
        """Make examples and a fresh adapter; the MB that are held before the first step."""
        self.step = None  # frees its model
        tokenizer = ModelChoice(name="smollm2-135m").load_tokenizer()
        self.step = KINDS[self.kind](tokenizer, size, tiny=self.tiny)
        return forget_peak()

    def take_step(self) -> Step:
        """One whole step."""
        assert self.step is not None, "get_ready comes first"
        return self.step()

    def peak(self) -> float:
        """The most MB that the process held since it was ready."""
        return peak_so_far_mb()
