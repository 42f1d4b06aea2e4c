"""How much faster is one training step than the loop a competent user would write?

Ours feeds each prompt once, with its words as a tree, and takes logits only where something is
predicted. The other loop feeds prompt + word once for every word, padded, and takes all logits.
Both have the default boundary (the end of the turn after each word), the same LoRA and the same
loss, forward KL over words and other, and both take a whole optimiser step.

    python benchmarks/step.py --json benchmarks/results/step.json
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from machine import device_and_versions, medians_in_turns, peak_mb
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.data.vocabulary import word_pool
from distmatch.losses import forward_kl, support_log_probs
from distmatch.scoring import model_encoder, score_batch

BATCH, PROMPT_TOKENS, WORD_TOKENS = 8, 60, 2


def main() -> None:
    """Time both loops side by side, in turns, and write one row for each number of words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--num-words", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each loop")
    args = parser.parse_args()
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    model = dm.attach_lora(model, dm.lora("all", rank=16), seed=0)
    encoder = model_encoder(model, tokenizer)
    rows: list[dict[str, float]] = []
    report = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(model.device),
        "load_average": os.getloadavg()[0],
        "batch": BATCH,
        "prompt_tokens": PROMPT_TOKENS,
        "rows": rows,
    }
    for num_words in args.num_words:
        rows.append(measure(model, encoder, num_words, args.steps))
        print(json.dumps(rows[-1]), flush=True)
        if args.json:  # each row at once: at ten words the other loop takes minutes
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(model: nn.Module, encoder: Encoder, num_words: int, steps: int) -> dict[str, float]:
    """Median times of both loops in turns, the peak memory of each, and the losses' difference."""
    tries = encoder.encode_all(examples(encoder.tokenizer, num_words))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0)  # both see equal weights

    def step(loss_of: Callable[[], Tensor]) -> float:
        loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    loops = {
        "ours": lambda: our_loss(model, encoder, tries),
        "per_word": lambda: per_word_loss(model, tries, encoder),
    }
    losses = {name: step(loop) for name, loop in loops.items()}  # also warms up
    times = medians_in_turns({name: partial(step, loop) for name, loop in loops.items()}, steps)
    peaks = {name: peak_mb(partial(step, loop)) for name, loop in loops.items()}
    return {
        "num_words": num_words,
        "ours_ms": times["ours"],
        "per_word_ms": times["per_word"],
        "ratio": round(times["per_word"] / times["ours"], 2),
        "loss_difference": abs(losses["ours"] - losses["per_word"]),
        "ours_peak_mb": round(peaks["ours"]),
        "per_word_peak_mb": round(peaks["per_word"]),
    }


def examples(tokenizer: PreTrainedTokenizerBase, num_words: int) -> list[dm.Example]:
    """Prompts of exactly `PROMPT_TOKENS` tokens, each with its own words of two tokens."""
    rng = random.Random(0)
    encoder = Encoder(tokenizer)
    made: list[dm.Example] = []
    words = [w for w in word_pool() if len(tokenizer(w)["input_ids"]) == WORD_TOKENS]
    rng.shuffle(words)
    for row in range(BATCH):
        chosen = tuple(words[row * num_words : (row + 1) * num_words])
        target = dm.WordDistribution.normalised({word: rng.random() for word in chosen})
        text = f"Choose one of the words {row}"
        while True:
            prompt = (
                {"role": "system", "content": f"Rule {row}"},
                {"role": "user", "content": text},
            )
            example = dm.Example(prompt=prompt, target=target)
            trie = encoder.encode(example)
            if len(trie.prompt_ids) >= PROMPT_TOKENS:
                break
            text += " again"
        assert len(trie.prompt_ids) == PROMPT_TOKENS
        made.append(example)
    return made


def our_loss(model: nn.Module, encoder: Encoder, tries: list[TokenTrie]) -> Tensor:
    """One forward of packed trees."""
    batch = make_batch(tries, encoder)
    scores = score_batch(model, batch)
    return forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()


def per_word_loss(model: nn.Module, tries: list[TokenTrie], encoder: Encoder) -> Tensor:
    """One padded sequence for every word: prompt, word, end of turn; all logits."""
    paths = [path for trie in tries for (path,) in trie.paths]
    prompts = [list(trie.prompt_ids) for trie in tries for _ in trie.paths]
    sequences = [torch.tensor([*p, *w]) for p, w in zip(prompts, paths, strict=True)]
    ids = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(s) for s in sequences], batch_first=True)
    log_probs = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    ends = torch.tensor(encoder.end_ids)
    words = []
    for row, (prompt, path) in enumerate(zip(prompts, paths, strict=True)):
        slot = len(prompt) - 1
        edges = log_probs[row, torch.arange(slot, slot + len(path)), torch.tensor(path)].sum()
        words.append(edges + log_probs[row, slot + len(path), ends].logsumexp(-1))
    scores = torch.stack(words).reshape(len(tries), -1)
    target = torch.tensor([trie.target.probs for trie in tries])
    return (target * (target.log() - scores)).sum(-1).mean()  # other is to be 0: no term


if __name__ == "__main__":
    main()
