"""Everything that touches weights or a model family."""

from distmatch.models.checkpoints import free_memory
from distmatch.models.choice import ModelChoice
from distmatch.models.loading import DTYPES, QUANTIZATIONS
from distmatch.models.quantizers import random_packed

__all__ = ["DTYPES", "QUANTIZATIONS", "ModelChoice", "free_memory", "random_packed"]
