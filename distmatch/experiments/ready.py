"""The experiments there are, by name."""

from pathlib import Path

from distmatch.errors import ConfigError
from distmatch.experiments.acrostic import Acrostic
from distmatch.experiments.disposition import Disposition
from distmatch.experiments.documents import Documents
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.finished import kept_settings
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.preferences import Preferences
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.shares import Shares
from distmatch.experiments.trained_for import TrainedFor
from distmatch.experiments.transfer import Transfer
from distmatch.tables import with_settings

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


def kept_experiment(folder: str | Path) -> Experiment:
    """The ready experiment that a folder holds, by its record.

    Raises:
        ConfigError: It holds one from a file, or none that can be read.
    """
    name, settings = kept_settings(folder)
    if name not in EXPERIMENTS:
        raise ConfigError(
            f'{folder} holds "{name}", which is from a file: give that to distmatch experiment '
            "again, which goes on where it was and writes the report anew"
        )
    return with_settings(name, EXPERIMENTS[name], settings)
