"""How far a command or call is, in one line: a bar, or in a log a line now and then."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
