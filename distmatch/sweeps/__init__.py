"""Which layers learn it: one adapter a cell of sites x blocks x seeds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
