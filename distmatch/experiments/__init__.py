"""Experiments: narrow fine-tunes, declared arms, and probes of what a model knows of itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
