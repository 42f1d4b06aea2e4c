"""Models without weights: asked over the network, measured between bounds."""

from distmatch.evals.backends.client import Limits
from distmatch.evals.backends.endpoint import Endpoint

__all__ = ["Endpoint", "Limits"]
