"""The experiments there are, by name."""

from distmatch.experiments.acrostic import Acrostic
from distmatch.experiments.disposition import Disposition
from distmatch.experiments.documents import Documents
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.preferences import Preferences
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.shares import Shares
from distmatch.experiments.trained_for import TrainedFor
from distmatch.experiments.transfer import Transfer

EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        Shares(),
        Disposition(adapters=12),
        Preferences(adapters=12),
        SelfPrediction(adapters=6),
        TrainedFor(),
        Transfer(),
        Acrostic(),
        Documents(),
        Introspection(adapters=12),
    )
}
"""Ready ones; `dataclasses.replace` gives one other settings."""
