"""Do models really write what is computed? Samples of each suite's prompts against exact scores.

Twenty prompts of each suite, spread over its groups, are answered a hundred times each, at
temperature 1 with nothing cut off, in float32, and read token by token; Pearson's test holds the
counts against the exact probabilities (of not_given: of the likely answers found). The level is 1 %
for all suites together. Of numbers there is also how well the words among the samples fit what is
asked for.

    python benchmarks/samples.py --json benchmarks/results/samples.json
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from continuations import count_words, longest_answer, sample_repeatedly
from goodness import goodness_of_fit
from machine import device_and_versions
from torch import nn
from tqdm.auto import tqdm

import distmatch as dm
from distmatch.data.examples import Example
from distmatch.data.prompts import render_slot
from distmatch.data.tasks.not_given import not_given
from distmatch.data.tasks.sequence import next_step
from distmatch.data.trie import Encoder
from distmatch.evals import Given, Numbers, Sequential, Suppression
from distmatch.scoring import model_encoder, resolve_at_most, score_tries
from distmatch.search import likely_answers

NUM_PROMPTS, NUM_SAMPLES = 20, 100
LEVEL = 0.01
LONGEST_TURN = 24


class Samples(NamedTuple):
    """Of each prompt how often each outcome came up, and its exact and asked probabilities."""

    counts: list[list[int]]
    probs: list[list[float]]
    asked: list[list[float]]


def spread(examples: Sequence[Example]) -> list[Example]:
    """So many of them, evenly spaced."""
    return [examples[i * len(examples) // NUM_PROMPTS] for i in range(NUM_PROMPTS)]


def sequences() -> list[Example]:
    """Whole answers, and lists after one word or two."""
    found = spread(Sequential().examples())
    for number, example in enumerate(found):
        if example.metadata["kind"] == "steps":
            for word in example.target.words[: 1 + number % 2]:
                example = next_step(example, word)
            found[number] = example
    return found


EXAMPLES: dict[str, Callable[[], list[Example]]] = {
    "given": lambda: spread(Given().examples()),
    "suppression": lambda: spread(Suppression().examples()),
    "numbers": lambda: spread(Numbers().examples()),
    "sequence": sequences,
}


def of_words(model: nn.Module, encoder: Encoder, examples: Sequence[Example]) -> Samples:
    """Samples of answers with given words."""
    tries = encoder.encode_all(resolve_at_most(model, encoder, examples))
    scores = score_tries(model, encoder, tries)
    samples = Samples([], [], [])
    for row, trie in enumerate(tqdm(tries, leave=False)):
        written = sample_repeatedly(model, trie.prompt_ids, NUM_SAMPLES, longest_answer(trie))
        samples.counts.append(count_words(written, trie, encoder))
        probs = scores.words[row, : len(trie.paths)].exp().tolist()
        samples.probs.append([*probs, scores.other[row].exp().item()])
        samples.asked.append([*trie.target.probs, 1 - sum(trie.target.probs)])
    return samples


def of_own_words(model: nn.Module, encoder: Encoder) -> Samples:
    """Samples of the answers that the model likes best where words aren't given."""
    prompts = [question.prompt for question in not_given(NUM_PROMPTS)]
    found = likely_answers(model, encoder, prompts, most_opened=64, progress="not_given")
    samples = Samples([], [], [])
    for prompt, answers in zip(tqdm(prompts, leave=False), found, strict=True):
        ids = render_slot(encoder.tokenizer, prompt).ids
        written = sample_repeatedly(model, ids, NUM_SAMPLES, LONGEST_TURN)
        said = Counter(_ended(tokens, encoder) for tokens in written)
        counts = [said.pop(text, 0) for text in answers.probs]
        samples.counts.append([*counts, sum(said.values())])
        samples.probs.append([*answers.probs.values(), 1 - sum(answers.probs.values())])
    return samples


def _ended(tokens: Sequence[int], encoder: Encoder) -> str | None:
    """The text of a turn; None if it hadn't ended."""
    for place, token in enumerate(tokens):
        if token in encoder.end_ids:
            return encoder.tokenizer.batch_decode([list(tokens[:place])])[0].strip()
    return None


def main() -> None:
    """Sample every suite's prompts and print how they fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument(
        "--adapters", type=Path, help="a folder of adapters by suite; without: base"
    )
    names = [*EXAMPLES, "not_given"]
    parser.add_argument("--suites", nargs="+", choices=names, default=names)
    args = parser.parse_args()
    rows = []
    for name in args.suites:
        model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
        adapter = args.adapters / name if args.adapters else None
        is_adapted = adapter is not None and (adapter / "adapter_config.json").exists()
        if is_adapted:
            model = dm.load_adapter(model, adapter)  # type: ignore[assignment, arg-type]
        encoder = model_encoder(model, tokenizer)
        torch.manual_seed(0)
        if name in EXAMPLES:
            samples = of_words(model, encoder, EXAMPLES[name]())
        else:
            samples = of_own_words(model, encoder)
        fit = goodness_of_fit(samples.counts, samples.probs)
        fits = fit.p_value > LEVEL / len(names)
        print(f"{name}{', trained' if is_adapted else ''}: {fit}, {'fits' if fits else 'NO FIT'}")
        row = {"suite": name, "adapted": is_adapted, **fit._asdict(), "fits": fits}
        if name == "numbers":
            pairs = zip(samples.counts, samples.asked, strict=True)
            said = [(counts[:-1], asked) for counts, (*asked, _) in pairs if sum(counts[:-1])]
            wanted = goodness_of_fit(
                [counts for counts, _ in said],
                [[p / sum(asked) for p in asked] for _, asked in said],
            )
            print(f"numbers, words alone, against what is asked: {wanted}")
            row["asked"] = wanted._asdict()
        rows.append(row)
    if args.json:
        about = {"command": " ".join(["python", *sys.argv])}
        about |= device_and_versions(torch.device("cpu"))
        about |= {"prompts": NUM_PROMPTS, "samples_a_prompt": NUM_SAMPLES}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
