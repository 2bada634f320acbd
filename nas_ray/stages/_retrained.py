"""The models that retraining leaves: written whole or not at all, found damaged, read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.errors import ModelError
from nas_ray.student import CARD_FILE, StudentCard, check_weights, read_card, save_model


@dataclass(frozen=True)
class Models:
    """The models in ``folder``, one a candidate; exports may lie beside them. ``say`` hears of damaged ones."""

    folder: Path
    say: Callable[[str], None]

    def at(self, row: Mapping[str, Any]) -> Path:
        """The folder of the model of a row of ``candidates.parquet``."""
        return self.folder / str(row["candidate_id"])

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the model of a row stands; one that was damaged since does not."""
        folder = self.at(row)
        if not folder.is_dir():
            return False
        try:
            read_card(folder)
            check_weights(folder)
        except ModelError as error:
            self.say(f"  {str(error).rstrip('.')}; it is made again")
            return False
        return True

    def write(self, row: Mapping[str, Any], model: Any, tokenizer: Any, card: StudentCard) -> None:
        """Weights, configuration, tokenizer and record, whole or not at all."""
        with replace_folder(self.at(row)) as temporary:
            save_model(model, temporary)
            tokenizer.save_pretrained(temporary)
            card.write(temporary)

    def cards(self) -> Iterator[StudentCard]:
        """What the models say of themselves; of damaged ones it is told."""
        for file in sorted(self.folder.glob(f"[!.]*/{CARD_FILE}")):
            try:
                card = read_card(file.parent)
            except ModelError as error:  # whoever asks for that one is told so, too
                self.say(f"  left out: {error}")
                continue
            if card.candidate_id == file.parent.name:
                yield card
