"""`DistributionTrainer`, and TRL's `SFTTrainer` on words sampled from the same targets.

Both go through the examples in their order, with the same LoRA: the quickstart's.
"""

import os
import random
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import peft
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

import distmatch as dm
from distmatch.data import Example

RANK = 16
SETTINGS: dict[str, Any] = {
    "train_sampling_strategy": "sequential",
    "report_to": "none",
    "logging_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
}
"""Of either trainer, beside what it is given."""


def distribution_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    settings: dict[str, Any],
) -> dm.DistributionTrainer:
    """The library's trainer, on the targets themselves."""
    return dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=examples,
        args=dm.DistributionConfig(**(SETTINGS | settings)),
        peft_config=dm.lora("all", rank=RANK),
    )


def sft_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    settings: dict[str, Any],
) -> SFTTrainer:
    """TRL's trainer on one sampled word a prompt, the loss on the completion alone.

    Nothing is computed twice to save memory, which is TRL's default.
    """
    disable_progress_bars()
    config = SFTConfig(**(SETTINGS | settings), gradient_checkpointing=False)
    return SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(sampled(examples, config.seed)),
        args=config,
        peft_config=peft.LoraConfig(
            r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules="all-linear"
        ),
    )


def sampled(examples: Sequence[Example], seed: int) -> list[dict[str, Any]]:
    """Each example as TRL's prompt and completion, with a word drawn by its probability."""
    rng = random.Random(f"{seed}/sampled")
    rows = []
    for example in examples:
        (word,) = rng.choices(example.target.words, example.target.probs)
        said = {"role": "assistant", "content": word}
        rows.append({"prompt": list(example.prompt), "completion": [said]})
    return rows


TRAINERS = {"distmatch": distribution_trainer, "trl_sft": sft_trainer}
