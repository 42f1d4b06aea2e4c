"""Training: a `transformers.Trainer` whose loss is a divergence between word distributions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
