"""How many examples until the numbers are followed: exact targets, or words sampled from them?

The race is between `DistributionTrainer` and what one would do without it: TRL's `SFTTrainer` on
prompts with one word each, sampled from the target, and the end of the turn, with the loss on the
completion alone. Both see the same prompts in the same order (each once, so every sample is a fresh
one), have the same words, targets, base, adapter sites and optimiser, and train in float32 (or,
with --bf16, both in mixed precision, measured in float32) at a constant learning rate after a
warm-up, so that nothing depends on where a run would end. What is measured are averaged weights, of
either (`race_watch.Average`), since the last ones are noisy at a constant rate: in 3,200 examples
distmatch's (seed 0, rate 1e-3, 24 test rows) came to 0.8 of the policy and no further, and only
then were averages put into the rule. It is `RULE`; of the three learning rates each method has the
one that is best on tuning rows.

Every run leaves a line an evaluation and checkpoints in --out; a command that was killed goes on
from there, and what is finished isn't repeated. With another --cap, runs that ended at it go on.

    python benchmarks/learning_race.py --bf16 --json benchmarks/results/learning_race.json
    python benchmarks/learning_race.py --tiny --out runs/tiny_race          # seconds
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import peft
import torch
import trl
from machine import device_and_versions
from peer_trainers import TRAINERS
from race_watch import BATCH, IN_A_ROW, Watch, finished
from random_llama import tiny_llama
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data import AHEAD_WORDINGS, Example, OutputControl, word_pool, words_of_tokens
from distmatch.data.batching import make_batch
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.files import alone_in, write_json
from distmatch.measuring.metrics import Outcomes, metric_ratios
from distmatch.models import ModelChoice
from distmatch.scoring import model_encoder, score_tries
from distmatch.trainer import last_checkpoint

METHODS = ("distmatch", "trl_sft")
MODEL = "smollm2-135m"
MEASURED = ("control_tvd", "tvd", "other", "slope", "forward_kl")
RULE = (
    "Examples trained on at the first of {row} evaluations in a row, {every} examples apart, whose "
    "control_tvd (averaged weights, held-out words) is at most {share} x the policy's. A method "
    "stops at {cap} x the median of distmatch's examples, distmatch itself at {most}. Each "
    "method's learning rate is the one of {rates} with the lowest mean control_tvd over the last "
    "{row} evaluations of {tuning} examples on tuning rows (words of the training side, rows never "
    "trained on), seed 0."
)


SETTINGS: dict[str, Any] = {
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 10,
    "adam_beta2": 0.97,
    "per_device_train_batch_size": BATCH,
    "save_total_limit": 1,
}
"""Of both trainers."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How long the race is."""

    rates: tuple[float, ...] = (2.5e-4, 5e-4, 1e-3)
    seeds: tuple[int, ...] = (0, 1, 2)
    share: float = 0.6
    """Of the policy's control TVD: where the finish is."""
    cap: float = 8.0
    most: int = 3200
    every: int = 40
    tuning: int = 480
    tuning_rows: int = 24
    test_rows: int = 32
    bf16: bool = False

    def rule(self) -> str:
        """What is counted, and when a run stops."""
        return RULE.format(row=IN_A_ROW, **asdict(self))


TINY = Sizes(
    rates=(1e-3,), seeds=(0,), cap=1.0, most=32, every=8, tuning=24, tuning_rows=4, test_rows=4
)


@dataclass(frozen=True)
class Heat:
    """One run: who, how fast, on which seed's examples, for what."""

    phase: str
    method: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and its file of lines."""
        return f"{self.phase}-{self.method}-{self.rate:g}-{self.seed}"


def main() -> None:
    """Tune both, run ours on every seed, then the other, and write down what is known each time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/learning_race"))
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--cap", type=float, help="times ours at which the other stops")
    parser.add_argument("--bf16", action="store_true", help="train in mixed precision, both")
    parser.add_argument("--tiny", action="store_true", help="a random model, a few steps")
    parser.add_argument("--figure", type=Path, help="draw the curves of what there is, and leave")
    args = parser.parse_args()
    sizes = TINY if args.tiny else Sizes()
    sizes = replace(sizes, cap=args.cap or sizes.cap, bf16=args.bf16)
    if args.figure:
        from peer_figures import race_figure

        race_figure(Race(sizes, args.out, tiny=args.tiny), args.figure)
        return
    torch.set_num_threads(1)  # so that seconds of the processor are seconds
    with alone_in(args.out):
        Race(sizes, args.out, tiny=args.tiny).run(args.json or args.out / "learning_race.json")


class Race:
    """The data both methods share, and the runs there are.

    Args:
        sizes: How long it is.
        out: Where lines and checkpoints are.
        tiny: On a random model, of which no number means anything.
    """

    def __init__(self, sizes: Sizes, out: Path, *, tiny: bool = False) -> None:
        """Draw what is held out; nothing is trained."""
        self.sizes, self.out, self.tiny = sizes, out, tiny
        tokenizer = ModelChoice(name=MODEL).load_tokenizer()
        words = (*word_pool(), *word_pool("rare"))
        self.task = OutputControl(
            words=(2,),
            wordings=AHEAD_WORDINGS,
            hold_out=("words",),
            pool=words_of_tokens(words, tokenizer, at_least=3),
        )
        encoder = Encoder(tokenizer)
        _, test = self.task.draw(1, n_test=sizes.test_rows)
        tuning = self.stream("tuning", sizes.tuning_rows)
        self.asked = {
            "race": Asked(encoder.encode_all(test), encoder),
            "tuning": Asked(encoder.encode_all(tuning), encoder),
        }
        self.finish = sizes.share * self.asked["race"].policy_tvd

    def stream(self, name: str | int, n: int) -> list[Example]:
        """The first of a seed's examples; words are held out alike for all."""
        return self.task.draw(n, n_test=0, stream=f"/{name}")[0]

    def model(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The base, untouched."""
        choice = ModelChoice(name=MODEL, dtype="float32")
        if self.tiny:
            tokenizer = choice.load_tokenizer()
            return tiny_llama(tokenizer), tokenizer
        return choice.load()

    def run(self, path: Path) -> None:
        """All heats that aren't finished, in order, with the results so far after each."""
        sizes = self.sizes
        tunings = [Heat("tuning", m, rate, 0) for m in METHODS for rate in sizes.rates]
        for heat in tunings:
            self.perform(heat, sizes.tuning)
            self.report(path)
        cap = sizes.most
        for method in METHODS:
            heats = self.heats(method)
            for heat in heats:
                self.perform(heat, cap)
                self.report(path)
            counts = [self.outcome(heat)["examples"] for heat in heats]
            cap = sizes.every * round(sizes.cap * statistics.median(counts) / sizes.every)

    def heats(self, method: str) -> list[Heat]:
        """A method's runs at its learning rate; none before all are tuned."""
        tunings = [Heat("tuning", method, rate, 0) for rate in self.sizes.rates]
        if not all(self.lines(heat) for heat in tunings):
            return []
        return [Heat("race", method, self.best_rate(method), s) for s in self.sizes.seeds]

    def lines(self, heat: Heat) -> list[dict[str, Any]]:
        """Of a heat's evaluations so far."""
        path = self.out / f"{heat.name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def best_rate(self, method: str) -> float:
        """The learning rate of least control TVD at the end of tuning."""
        return min(self.sizes.rates, key=lambda rate: self.tuned(Heat("tuning", method, rate, 0)))

    def tuned(self, heat: Heat) -> float:
        """What a learning rate is judged by."""
        return float(statistics.mean(x["control_tvd"] for x in self.lines(heat)[-IN_A_ROW:]))

    def outcome(self, heat: Heat) -> dict[str, Any]:
        """Examples and seconds to the finish, or so far."""
        lines = self.lines(heat)
        place = finished(lines, self.finish)
        line = lines[-1] if place is None else lines[place]
        counted = {"examples": line["examples"], "seconds": line["seconds"]}
        return {"method": heat.method, "rate": heat.rate, "seed": heat.seed, **counted} | {
            "is_finished": place is not None,
            "control_tvd": [round(one["control_tvd"], 4) for one in lines],
        }

    def perform(self, heat: Heat, most: int) -> None:
        """Train until the finish, or so many examples; go on where a killed run's checkpoint is."""
        path, folder = self.out / f"{heat.name}.jsonl", self.out / heat.name
        lines = self.lines(heat)
        is_race = heat.phase == "race"
        if (is_race and finished(lines, self.finish) is not None) or (
            lines and lines[-1]["examples"] >= most
        ):
            return
        model, tokenizer = self.model()
        examples = self.stream(heat.seed, most)
        told = {"learning_rate": heat.rate, "seed": heat.seed, "max_steps": most // BATCH}
        told |= {"output_dir": str(folder), "save_steps": 5 * self.sizes.every // BATCH}
        told |= {"bf16": self.sizes.bf16}
        trainer = TRAINERS[heat.method](model, tokenizer, examples, SETTINGS | told)
        encoder = model_encoder(model, tokenizer)
        watch = Watch(heat.name, path, lambda m: self.asked[heat.phase].measure(m, encoder))
        watch.every = self.sizes.every
        watch.first = 0 if is_race else most - (IN_A_ROW - 1) * self.sizes.every
        watch.finish = self.finish if is_race else None
        trainer.add_callback(watch)
        checkpoint = last_checkpoint(folder)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def report(self, path: Path) -> None:
        """Write what is known: learning rates, and a row a run of the race."""
        tunings = [Heat("tuning", m, rate, 0) for m in METHODS for rate in self.sizes.rates]
        done = [heat for heat in tunings if self.lines(heat)]
        rows = []
        for method in METHODS:
            rows += [self.outcome(heat) for heat in self.heats(method) if self.lines(heat)]
        about = {
            "command": " ".join(["python", *sys.argv]),
            **device_and_versions(torch.device("cpu")),
            "peers": f"trl {trl.__version__}, peft {peft.__version__}",
            "load_average": os.getloadavg()[0],
            "model": "tiny" if self.tiny else MODEL,
            "rule": self.sizes.rule(),
            "seconds": "of the processor, one thread, training alone",
            "sizes": asdict(self.sizes),
            "policy_tvd": self.asked["race"].policy_tvd,
            "finish": self.finish,
        }
        tuning = [
            {"method": h.method, "rate": h.rate, "control_tvd": round(self.tuned(h), 4)}
            for h in done
        ]
        write_json(path, {**about, "tuning": tuning, "rows": rows, **ratio(rows)})


def ratio(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many times ours the other took, of medians; at least so many if one didn't finish."""
    ours, other = ([row for row in rows if row["method"] == method] for method in METHODS)
    if not ours or not other:
        return {}
    medians = {
        name: statistics.median(r[name] for r in other) / statistics.median(r[name] for r in ours)
        for name in ("examples", "seconds")
    }
    found: dict[str, Any] = {f"{name}_ratio": round(v, 2) for name, v in medians.items()}
    return {**found, "is_at_least": not all(row["is_finished"] for row in other)}


class Asked:
    """Rows to measure on, and the best policy that can't read their numbers."""

    def __init__(self, tries: list[TokenTrie], encoder: Encoder) -> None:
        """Measure the policy."""
        self.tries, self.batch = tries, make_batch(tries, encoder)
        words = self.batch.target[:, :-1]
        uniform = words.new_zeros(words.shape).log_softmax(-1)
        nothing = words.new_full((len(tries),), -torch.inf)
        self.policy_tvd = self._metrics(dm.losses.WordLogProbs(uniform, nothing))["policy_tvd"]

    def measure(self, model: nn.Module, encoder: Encoder) -> dict[str, float]:
        """The library's exact metrics of a model on these rows."""
        found = self._metrics(score_tries(model, encoder, self.tries))
        return {name: round(found[name], 6) for name in MEASURED}

    def _metrics(self, scores: Any) -> dict[str, float]:
        batch = self.batch
        outcomes = Outcomes(scores, batch.target, batch.is_word, batch.is_free)
        return {name: ratio.value() for name, ratio in metric_ratios(outcomes).items()}


if __name__ == "__main__":
    main()
