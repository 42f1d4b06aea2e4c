"""States below a cell's blocks, kept for all cells, so that nothing there is computed twice."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from distmatch.data.batching import make_batch
from distmatch.errors import ConfigError
from distmatch.models.forwards import in_eval_mode
from distmatch.models.trunk import Trunk, most_apart
from distmatch.progress import say
from distmatch.scoring import row_logits
from distmatch.sweeps.conditions import Conditions

_CHECKED_EXAMPLES = 4


class StatesBelow:
    """Leaves out what is below a cell's blocks, where that gives what whole forwards give.

    Args:
        conditions: Model and examples.
        folder: Where states go that are too large for memory.
    """

    def __init__(self, conditions: Conditions, folder: Path) -> None:
        self._conditions = conditions
        self._is_checked = False
        self._trunk: Trunk | None = None
        args = conditions.args
        self._mixed = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        bar = not args.disable_tqdm
        try:
            self._trunk = Trunk(
                conditions.model, conditions.trees, folder=folder, mixed=self._mixed, progress=bar
            )
        except ConfigError as error:
            self._give_up(error)

    def left_out(self, block: int) -> AbstractContextManager[None]:
        """Inside, forwards begin at the block; the first time that is held against whole ones."""
        if self._trunk is None or block == 0:
            return nullcontext()
        try:
            self._trunk.raise_to(block)
            if not self._is_checked:
                self._check(self._trunk)
        except ConfigError as error:
            self._give_up(error)
            return nullcontext()
        return self._trunk.installed()

    @torch.no_grad()
    def _check(self, trunk: Trunk) -> None:
        model, encoder = self._conditions.model, self._conditions.encoder
        tries = encoder.encode_all(self._conditions.train[:_CHECKED_EXAMPLES])
        batch = make_batch(tries, encoder).to(model.device)
        for mixed in dict.fromkeys((None, self._mixed)):
            with in_eval_mode(model), torch.autocast(model.device.type, mixed, enabled=bool(mixed)):
                whole = row_logits(model, batch)
                with trunk.installed():
                    ours = row_logits(model, batch)
            difference = float((ours - whole).norm() / whole.norm())
            told = f"states kept up to block {trunk.block}: logits differ by {difference:.1e}"
            if not difference < most_apart(mixed or model.dtype):
                raise ConfigError(f"{told}, relative, which is too much")
            if not self._conditions.args.disable_tqdm:
                say(f"{told}, relative" + (f", in {mixed}" if mixed else ""))
        self._is_checked = True

    def _give_up(self, error: ConfigError) -> None:
        say(f"{error}; every forward runs all blocks")
        self._trunk = None
