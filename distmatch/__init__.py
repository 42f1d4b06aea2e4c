"""Fine-tune language models until their distribution over given words has given probabilities.

What is public of a package stands in the `__init__.pyi` beside its `__init__.py`. Each name is
imported when first used, so that `import distmatch` and `--help` don't wait for torch.
"""

import lazy_loader

from distmatch.others_messages import leave_out_at_imports

__version__ = "0.1.0"

leave_out_at_imports()  # before any package that says it is imported

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
