"""What all cells of a sweep have alike: model, examples, texts and the settings of training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint
from distmatch.data.ordinary import ordinary_texts
from distmatch.data.trie import Encoder, TokenIds
from distmatch.models.base_record import base_record
from distmatch.models.trunk import Tree
from distmatch.runs.record import config_record
from distmatch.scoring import model_encoder, resolve_at_most
from distmatch.sweeps.plan import Plan
from distmatch.sweeps.sets import Sets
from distmatch.trainer import DistributionConfig

_OF_CELLS = (
    *("seed", "learning_rate", "save_strategy", "eval_strategy", "eval_on_start"),
    *("logging_strategy", "logging_steps", "save_steps", "eval_steps"),
)
"""Settings that are each cell's own, or that no cell's result depends on."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all cells of a sweep have alike."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Example]
    sets: Sets[Sequence[Example]]
    texts: Sequence[TokenIds]
    """Ordinary ones, on which the base is to be kept."""
    args: DistributionConfig
    """`output_dir` is the sweep's folder; seed and learning rate are the cells'."""

    @classmethod
    def of(
        cls, plan: Plan, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> "Conditions":
        """Those of a plan, with upper bounds resolved by the model."""
        encoder = model_encoder(model, tokenizer)
        texts = [text for kind in ordinary_texts().values() for text in kind]
        spread = [texts[k * len(texts) // plan.num_texts] for k in range(plan.num_texts)]
        return cls(
            model=model,
            tokenizer=tokenizer,
            train=resolve_at_most(model, encoder, plan.train),
            sets=plan.sets.map(lambda _, rows: resolve_at_most(model, encoder, rows)),
            texts=encoder.encode_texts(spread),
            args=plan.args,
        )

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return Path(str(self.args.output_dir))

    @cached_property
    def encoder(self) -> Encoder:
        """The model's."""
        return model_encoder(self.model, self.tokenizer)

    @cached_property
    def trees(self) -> list[Tree]:
        """Of all that any cell is trained or measured on, always in the same order."""
        encoder = self.encoder
        tries = encoder.encode_all(self.train)
        for asked in self.sets.named().values():
            encoded = encoder.encode_asked(asked)
            tries += [*encoded.tries, *encoded.rotations]
        examples = (make_batch([trie], encoder) for trie in tries)
        texts = (make_text_batch([text]) for text in self.texts)
        return [Tree(b.ids, b.depths, b.ends) for b in (*examples, *texts)]

    @cached_property
    def record(self) -> dict[str, dict[str, Any]]:
        """What every cell's result depends on, as the folder's `sweep.json` holds it."""
        base = base_record(self.model) | {
            "dtype": str(self.model.dtype),
            "attention": self.model.config.get_text_config()._attn_implementation,
        }
        del base["name"]  # where it was loaded from
        return {
            "base": json.loads(json.dumps(base, default=str)),
            "train": config_record(self.args, _OF_CELLS),
            "data": self._data,
        }

    @property
    def _data(self) -> dict[str, Any]:
        """Hashes of the examples, and of every token."""
        sets = self.sets.named()
        tests = {f"test {name}": _hash(examples) for name, examples in sets.items()}
        tokens = fingerprint([tree.ids.tolist() for tree in self.trees])
        return {"train": _hash(self.train), **tests, "tests": list(sets), "tokens": tokens}


def _hash(examples: Sequence[Example]) -> str:
    return fingerprint([example.to_record() for example in examples])
