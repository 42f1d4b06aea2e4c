"""Measure a model: copying, control and policies, with intervals; nothing here trains."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
