"""A `transformers.Trainer` that leaves beside an adapter what it was trained on, and a card."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn
from transformers import Trainer

from distmatch.models.base_record import write_base_record
from distmatch.trainer.callbacks import ShownTraining
from distmatch.trainer.card import CardMeasures, write_card


class AdapterTrainer(Trainer):
    """Saves as theirs does; beside an adapter also `base.json`, and a card in place of PEFT's."""

    adapted: nn.Module
    measures: CardMeasures = CardMeasures()
    """What is known of the adapter as it is; training begins anew with nothing."""

    @property
    @abstractmethod
    def trained_on(self) -> str:
        """On what it trains, for the card."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As theirs; an error leaves nothing shown as if it went on."""
        try:
            return super().train(*args, **kwargs)
        finally:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ShownTraining):
                    callback.close()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if isinstance(self.adapted, PeftModel):
            folder = output_dir or str(self.args.output_dir)
            write_base_record(self.adapted, folder)
            if self.args.should_save:  # after PEFT, which leaves its blank form first
                write_card(folder, self._card_name, self.trained_on, self.measures)

    def create_model_card(  # noqa: PLR0913 (theirs)
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write the adapter's card into the output directory; of another model, theirs.

        Args:
            language: For the header.
            license: For the header: the adapter's.
            tags: For the header, besides ours.
            model_name: What the adapter is called; None: as its folder.
            finetuned_from: The base's id on the hub, where it isn't known from how it was loaded.
            tasks: Of an adapter unused.
            dataset_tags: For the header: ids on the hub of what it was trained on.
            dataset: Of an adapter unused.
            dataset_args: Of an adapter unused.
        """
        if not isinstance(self.adapted, PeftModel):
            names = (language, license, tags, model_name, finetuned_from, tasks, dataset_tags)
            super().create_model_card(*names, dataset, dataset_args)
            return
        if not self.is_world_process_zero():
            return
        header = {
            "language": language,
            "license": license,
            "tags": [tags] if isinstance(tags, str) else tags,
            "base_model": finetuned_from,
            "datasets": dataset_tags,
        }
        folder, name = str(self.args.output_dir), model_name or self._card_name
        write_card(folder, name, self.trained_on, self.measures, header)

    @property
    def _card_name(self) -> str:
        return Path(str(self.args.output_dir)).resolve().name
