"""Text as packed token batches, in four splits cut by document."""

from nas_ray.data._batches import NOT_HIDDEN, Batch, Special, TokenBatches, load_batches
from nas_ray.data._documents import absolute_source, local_files, paragraphs, resolve_text
from nas_ray.data._labelled import LABELLED, SHARES, Example, LabelledSet, labelled, unseen
from nas_ray.data._pack import SPLITS, Packed, Rows, pack, split_of

__all__ = [
    "LABELLED",
    "NOT_HIDDEN",
    "SHARES",
    "SPLITS",
    "Batch",
    "Example",
    "LabelledSet",
    "Packed",
    "Rows",
    "Special",
    "TokenBatches",
    "absolute_source",
    "labelled",
    "load_batches",
    "local_files",
    "pack",
    "paragraphs",
    "resolve_text",
    "split_of",
    "unseen",
]
