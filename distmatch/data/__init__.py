"""What the user wants: examples, and functions that make them. Imports neither torch nor models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
