"""From word log-probs to metrics with intervals, and how far a model is from its base."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
