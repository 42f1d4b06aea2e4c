"""Plain arrays in, matplotlib figure out; needs the extra `plots`.

Figures are made without pyplot, so nothing here touches its state, opens a window or needs a
display. They show themselves in notebooks; outside, give a `path`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
