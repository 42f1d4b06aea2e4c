"""GGUF files as models: what they hold, read once and written as directories transformers loads.

The package `gguf` is imported when a file is read, not before.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
