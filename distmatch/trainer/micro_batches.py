"""What a micro-batch is, and the modes that the model is in meanwhile."""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from distmatch.data.batching import TreeBatch
from distmatch.data.trie import TokenTrie
from distmatch.models.cast_once import CastOnce
from distmatch.models.head import is_checkpointing
from distmatch.models.trunk import installed_trunk
from distmatch.scoring import row_logits

_NO_ROW = -1


class RowNumbers(Dataset[int]):
    """The numbers of so many examples, from which batches are made when used."""

    def __init__(self, count: int) -> None:
        """Keep their count."""
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> int:
        return row


class FilledUp(BatchSampler):
    """Micro-batches as they are dealt to several processes, each of which gets as many.

    Where the last ones are short, nothing is dealt in place of rows that there aren't: every
    example counts once, and a process may get a micro-batch without any.

    Args:
        sampler: Rows in their order.
        batch_size: Of a micro-batch.
        num_processes: Micro-batches are dealt to these in turns.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, num_processes: int) -> None:
        """Nothing is drawn yet."""
        super().__init__(sampler, batch_size, drop_last=False)
        self._num_processes = num_processes

    def __len__(self) -> int:
        return -(-super().__len__() // self._num_processes) * self._num_processes

    def __iter__(self) -> Iterator[list[int]]:
        rows = chain(self.sampler, repeat(_NO_ROW))
        for _ in range(len(self)):
            yield [next(rows) for _ in range(self.batch_size)]


def filled_up(loader: DataLoader[Any], num_processes: int) -> DataLoader[Any]:
    """A loader that accelerate has prepared, dealing `FilledUp` micro-batches where it has to."""
    dealt: Any = loader.batch_sampler
    if num_processes > 1 and not dealt.drop_last:
        theirs = dealt.batch_sampler
        dealt.batch_sampler = FilledUp(theirs.sampler, theirs.batch_size, num_processes)
    return loader


def keep_buffers(model: nn.Module, num_processes: int) -> None:
    """Keep several processes from sending each other the model's buffers, which never change.

    DDP would at each forward, and wait for processes that have fewer forwards than others.
    """
    if num_processes == 1:
        return
    names = [name for name, _ in model.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)


def frozen_matrices(model: nn.Module, accelerator: Accelerator) -> CastOnce:
    """The model's in the precision of mixed training, but of blocks that kept states stand for.

    None where FSDP shards them, which casts as it gathers.
    """
    trunk = installed_trunk(model)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if accelerator.distributed_type == DistributedType.FSDP:
        dtype = None
    return CastOnce(model, dtype, idle=trunk.below if trunk else ())


def row_numbers(items: list[int]) -> dict[str, Tensor]:
    """A micro-batch: the numbers of its examples."""
    rows = [row for row in items if row != _NO_ROW]
    return {"rows": torch.tensor(rows, dtype=torch.long)}


def over_tokens(losses: Tensor, tries: Sequence[TokenTrie]) -> Tensor:
    """The losses, each divided by the tokens of its word where that is asked for.

    Args:
        losses: One an example.
        tries: The examples.
    """
    return losses / losses.new_tensor([trie.loss_tokens for trie in tries])


def nothing(model: nn.Module, batch: TreeBatch) -> Tensor:
    """Zero, of a forward like that of the other processes, which wait for its gradients.

    Args:
        model: As it is trained, wrapped.
        batch: Any.
    """
    return row_logits(model, batch).sum()[None] * 0.0


def train_only_adapters(model: nn.Module) -> None:
    """Evaluation mode everywhere but in LoRA's dropout, so that the base's states never change.

    Blocks that checkpoint keep their flag, on which that depends.
    """
    was_training = model.training
    for name, module in model.named_modules():
        keeps_mode = module is model or "lora_dropout" in name or is_checkpointing(module)
        module.training = was_training and keeps_mode
