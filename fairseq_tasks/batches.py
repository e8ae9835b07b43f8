"""Datasets that keep what stock fairseq loses: `</s>` on a cut text, and new batches in every epoch."""

from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset
from numpy.typing import NDArray


class TruncatedDataset(BaseWrapperDataset):
    """Texts of at most `limit` tokens; the last token, `</s>`, stays on a text that is cut."""

    def __init__(self, dataset: Any, limit: int) -> None:
        super().__init__(dataset)
        self.limit = limit
        self._sizes = np.minimum(np.asarray(dataset.sizes), limit)

    def __getitem__(self, index: int) -> torch.Tensor:
        tokens = self.dataset[index]
        if len(tokens) <= self.limit:
            return tokens
        return torch.cat([tokens[: self.limit - 1], tokens[-1:]])

    @property
    def sizes(self) -> NDArray[np.int64]:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return int(self._sizes[index])

    def size(self, index: int) -> int:
        return int(self._sizes[index])


class ShuffledDataset(BaseWrapperDataset):
    """Examples in a random order drawn anew each epoch, or (`reshuffle=False`) once, as stock fairseq does."""

    def __init__(self, dataset: Any, seed: int, reshuffle: bool) -> None:
        super().__init__(dataset)
        self.seed, self.reshuffle, self.epoch = seed, reshuffle, 1

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return not self.reshuffle

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    def ordered_indices(self) -> NDArray[np.int64]:
        """Return the order of this epoch, a function of seed and epoch alone."""
        generator = np.random.default_rng([self.seed, self.epoch if self.reshuffle else 0])
        return generator.permutation(len(self.dataset))
