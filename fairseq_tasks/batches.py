"""Datasets that keep what stock fairseq loses: `</s>` on a cut text, both texts of a pair, new batches each epoch."""

from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, SubsampleDataset
from numpy.typing import NDArray

from data_prep.truncation import cut_lengths


class _CutDataset(BaseWrapperDataset):
    """A dataset whose texts have other lengths than in the wrapped dataset: `sizes` tokens, shape (texts,)."""

    def __init__(self, dataset: Any, sizes: NDArray[np.int64]) -> None:
        super().__init__(dataset)
        self._sizes = sizes

    @property
    def sizes(self) -> NDArray[np.int64]:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return int(self._sizes[index])

    def size(self, index: int) -> int:
        return int(self._sizes[index])


class TruncatedDataset(_CutDataset):
    """Texts of at most `limit` tokens. A cut text keeps its last token, `</s>`."""

    def __init__(self, dataset: Any, limit: int) -> None:
        super().__init__(dataset, np.minimum(np.asarray(dataset.sizes), limit))
        self.limit = limit

    def __getitem__(self, index: int) -> torch.Tensor:
        tokens = self.dataset[index]
        if len(tokens) <= self.limit:
            return tokens
        return torch.cat([tokens[: self.limit - 1], tokens[-1:]])


class PairDataset(_CutDataset):
    """`<s> first </s> </s> second </s>` in at most `limit` tokens: the longer text is cut first, no separator is lost.

    `first` and `second` hold texts that end in `</s>`, as fairseq-preprocess writes them.
    """

    def __init__(self, first: Any, second: Any, bos: int, limit: int) -> None:
        one, other = (np.asarray(texts.sizes, dtype=np.int64) - 1 for texts in (first, second))
        self.kept = cut_lengths(one, other, limit - 4)
        super().__init__(first, self.kept[0] + self.kept[1] + 4)
        self.second, self.bos = second, bos

    def __getitem__(self, index: int) -> torch.Tensor:
        one, other = self.dataset[index], self.second[index]
        end = one[-1:]
        kept_one, kept_other = (int(kept[index]) for kept in self.kept)
        return torch.cat([one.new_tensor([self.bos]), one[:kept_one], end, end, other[:kept_other], end])


class SubsetDataset(SubsampleDataset):
    """The examples at `rows` of a dataset, in this order, where fairseq's own class draws them. They keep their ids."""

    def __init__(self, dataset: Any, rows: NDArray[np.int64]) -> None:
        BaseWrapperDataset.__init__(self, dataset)
        self.indices, self.actual_size = rows, len(rows)

    @property
    def sizes(self) -> NDArray[np.int64]:
        sizes: NDArray[np.int64] = np.asarray(self.dataset.sizes[0])[self.indices]
        return sizes


class ShuffledDataset(BaseWrapperDataset):
    """Examples in random order, drawn anew each epoch, or only once with `reshuffle=False`, as in stock fairseq."""

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
        """Return the order of this epoch. It depends only on the seed and the epoch."""
        generator = np.random.default_rng([self.seed, self.epoch if self.reshuffle else 0])
        return generator.permutation(len(self.dataset))
