"""What is wrong with a trained adapter's answers: its words, their places, or its numbers?

Asks held-out pairs of words on a grid of percents, in both orders. In log-odds the error of an
answer is a sum: a preference for one of the two words (the mean over the grid and both orders), one
for a place (half the difference between orders), and what is left, how the numbers are read. Each
is reported as a standard deviation, and as the TVD there would be without it.

    python benchmarks/error_parts.py runs/quickstart --json benchmarks/results/error_parts.json
"""

import argparse
import json
import random
import sys
from pathlib import Path

import torch
from machine import device_and_versions
from torch import Tensor

import distmatch as dm
from distmatch.data.tasks.wordings import SYSTEM
from distmatch.data.vocabulary import split_words, word_pool, words_of_tokens
from distmatch.scoring import model_encoder, score_tries

PERCENTS = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


def main() -> None:
    """Ask, take apart, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("adapter", type=Path, nargs="?", default=Path("runs/quickstart"))
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="the training run's")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model, tokenizer = dm.load_model("smollm2-135m")
    adapted = dm.load_adapter(model, args.adapter)
    pool = words_of_tokens((*word_pool(), *word_pool("rare")), tokenizer, at_least=3)
    _, held_out = split_words(pool, seed=args.seed)
    rng = random.Random(args.seed)
    pairs = [tuple(rng.sample(held_out, 2)) for _ in range(args.pairs)]
    encoder = model_encoder(adapted, tokenizer)
    words = score_tries(adapted, encoder, encoder.encode_all(questions(pairs))).words
    log_odds = (words[:, 0] - words[:, 1]).double().view(len(pairs), len(PERCENTS), 2).cpu()
    report = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(model.device),
        **parts(log_odds, torch.tensor(PERCENTS, dtype=torch.float64) / 100),
    }
    print(json.dumps(report, indent=2))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def questions(pairs: list[tuple[str, ...]]) -> list[dm.Example]:
    """Each pair at each percent (the first word's), first word first and then last."""
    return [
        question(pair, percent, is_first=is_first)
        for pair in pairs
        for percent in PERCENTS
        for is_first in (True, False)
    ]


def question(pair: tuple[str, ...], percent: int, *, is_first: bool) -> dm.Example:
    """One of them."""
    shown = [f'{percent}% "{pair[0]}"', f'{100 - percent}% "{pair[1]}"']
    content = f"Choose: {', '.join(shown if is_first else shown[::-1])}."
    return dm.Example(
        prompt=({"role": "system", "content": SYSTEM}, {"role": "user", "content": content}),
        target=dm.WordDistribution(pair, (percent / 100, 1 - percent / 100)),
    )


def parts(log_odds: Tensor, asked: Tensor) -> dict[str, float]:
    """Standard deviations in nats, and TVDs over the two words.

    Args:
        log_odds: Of the first word, (pairs, percents, orders).
        asked: Its probabilities, (percents,).
    """
    error = log_odds - asked.logit()[None, :, None]
    word = error.mean((1, 2), keepdim=True)
    place = error.mean(1, keepdim=True) - word
    numbers = error - word - place

    def tvd(wrong: Tensor) -> float:
        given = (asked.logit()[None, :, None] + wrong).sigmoid()
        return round(float((given - asked[None, :, None]).abs().mean()), 4)

    return {
        "tvd": tvd(error),
        "word_sd": round(float(word.square().mean().sqrt()), 3),
        "place_sd": round(float(place.square().mean().sqrt()), 3),
        "numbers_sd": round(float(numbers.square().mean().sqrt()), 3),
        "tvd_without_word": tvd(error - word),
        "tvd_without_place": tvd(error - place),
        "tvd_without_numbers": tvd(error - numbers),
    }


if __name__ == "__main__":
    main()
