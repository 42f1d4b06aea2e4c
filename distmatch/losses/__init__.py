"""Tensors in, tensors out: no model, tokenizer or file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
