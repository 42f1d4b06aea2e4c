"""What a process of its own runs within a checkout of SAD: its samples, as JSON on stdout.

Run by `sad_checkout` as a script, so it imports nothing of this library. Whatever the checkout's
code prints goes to stderr.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODULE = "sad.anti_imitation.output_control.utils"
_NUMBERS = ("p", "q", "r")


def write_samples(checkout: str) -> None:
    """Write the samples, each with `messages`, `ideal`, `p`, `q` and `r`.

    Args:
        checkout: The folder of the authors' repository.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    sys.path.insert(0, checkout)
    module = importlib.import_module(MODULE)
    place = Path(checkout, *MODULE.split(".")).with_suffix(".py")
    if not os.path.samefile(str(module.__file__), place):
        raise ImportError(f"{MODULE} is {module.__file__}, not the checkout's")
    records = [_record(sample) for sample in module.get_combined_samples()]
    with open(out, "w", encoding="utf-8") as pipe:
        json.dump(records, pipe)


def _record(sample: Any) -> dict[str, Any]:
    messages = [{"role": one.role, "content": one.content} for one in sample.body]
    asked = dict(zip(_NUMBERS, _numbers(sample), strict=True))
    return {"messages": messages, "ideal": sample.ideal_answers, **asked}


def _numbers(sample: Any) -> tuple[Any, ...]:
    """A sample's p, q and r: its own attributes, or keys of a mapping among them."""
    kept = vars(sample)
    holders = [one for one in (kept, *kept.values()) if isinstance(one, Mapping)]
    found = {
        tuple(one[name] for name in _NUMBERS)
        for one in holders
        if all(name in one for name in _NUMBERS)
    }
    if len(found) != 1:
        raise LookupError(
            f"{len(found)} values of p, q and r in a sample's attributes {sorted(kept)}, not 1"
        )
    return found.pop()


if __name__ == "__main__":
    write_samples(sys.argv[1])
