"""Plain arrays in, matplotlib figure out; needs the extra `plots`.

Figures are made without pyplot, so nothing here touches its state, opens a window or needs a
display. They show themselves in notebooks; outside, give a `path`.
"""

from distmatch.plots.layers import layer_curves, layer_maps, layer_ranking
from distmatch.plots.metrics import groups
from distmatch.plots.probabilities import AskedAndGiven, Calibrated, calibration
from distmatch.plots.style import drawn
from distmatch.plots.training import learning_curve

__all__ = [
    "AskedAndGiven",
    "Calibrated",
    "calibration",
    "drawn",
    "groups",
    "layer_curves",
    "layer_maps",
    "layer_ranking",
    "learning_curve",
]
