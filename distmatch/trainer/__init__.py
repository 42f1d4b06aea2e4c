"""Training: a `transformers.Trainer` whose loss is a divergence between word distributions."""

from distmatch.trainer.callbacks import Refresh
from distmatch.trainer.distribution_trainer import DistributionTrainer
from distmatch.trainer.output_dir import check_output_dir, last_checkpoint
from distmatch.trainer.settings import DistributionConfig, check_targets, divergence

__all__ = [
    "DistributionConfig",
    "DistributionTrainer",
    "Refresh",
    "check_output_dir",
    "check_targets",
    "divergence",
    "last_checkpoint",
]
