"""Plain values in, one page out that asks nothing of the network; needs the extra `plots`.

A page is HTML with its pictures, style and script inside. Without the script all of it can still be
read: the script only points, chooses, searches and sorts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
