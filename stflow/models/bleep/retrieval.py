"""Retrieval: the reference spots that are nearest to an image embedding, and what is predicted from them.

The reference is all training spots. Many of them may have the same expression, above all none at all, and so the same
embedding: their similarity to a query is computed once, so that they tie to the last bit, and of spots that tie the one
that comes first among the training spots is taken. As their expression is the same too, what is predicted does not
depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stflow import tensors
from stflow.errors import RunFailed

#: Similarities that are held at once: 64 MB, and a few times that while the nearest are chosen.
_SIMILARITIES = 1 << 24


class Reference:
    """Spots to retrieve from, on one device.

    Parameters
    ----------
    embeddings
        (N, E) float32 embeddings of their expression.
    expression
        (N, G) float32 log1p counts.

    Raises
    ------
    RunFailed
        Embeddings that are not finite.
    """

    def __init__(self, embeddings: np.ndarray, expression: np.ndarray, device: str) -> None:
        _refuse_diverged(np.isfinite(embeddings).all())
        _, first, which = np.unique(expression, axis=0, return_index=True, return_inverse=True)
        self.embeddings, self.expression = tensors.of(embeddings, device), tensors.of(expression, device)
        self._keys = F.normalize(self.embeddings[torch.from_numpy(first).to(device)], dim=1)
        self._which = torch.from_numpy(which.reshape(-1)).to(device)

    def __len__(self) -> int:
        return len(self.expression)

    def nearest(self, queries: Tensor, k: int) -> Tensor:
        """(B, k) rows of the spots most similar to each of (B, E) queries by cosine, the most similar first.

        Of spots that are equally similar the lower row comes first. ``k`` is at most N.
        """
        found = [self._nearest(part, k) for part in self._parts(queries)]
        return torch.cat(found) if found else self._which.new_empty((0, k))

    def predict(self, queries: Tensor, k: int, rule: str) -> Tensor:
        """(B, G) log1p counts for (B, E) image embeddings.

        Parameters
        ----------
        k
            Spots to retrieve, at most all there are; 1 for ``simple``.
        rule
            ``average``, ``simple``, or ``weighted``: weights exp(-d^2), d the distance of the embeddings as they are.
            The published code takes the nearest one's d^2 off first and adds 1, a factor that cancels.

        Raises
        ------
        RunFailed
            Embeddings that are not finite.
        """
        _refuse_diverged(queries.isfinite().all())
        k = 1 if rule == "simple" else min(k, len(self))
        parts = []
        for part in self._parts(queries):
            rows = self._nearest(part, k)
            if rule == "weighted":
                distance = (self.embeddings[rows] - part[:, None]).square().sum(dim=2)
                weights = torch.softmax(-distance, dim=1)
                parts.append((weights[:, None] @ self.expression[rows])[:, 0])
            else:
                parts.append(self.expression[rows].mean(dim=1))
        return torch.cat(parts) if parts else self.expression[:0]

    def _parts(self, queries: Tensor) -> Iterator[Tensor]:
        """Queries, so many at once that their similarities fit into memory."""
        return iter(queries.split(max(_SIMILARITIES // len(self), 1)) if len(queries) else ())

    def _nearest(self, queries: Tensor, k: int) -> Tensor:
        similarity = (F.normalize(queries, dim=1) @ self._keys.T)[:, self._which]
        least = similarity.topk(k, dim=1).values[:, -1:]
        chosen = similarity >= least
        if int(chosen.sum()) > k * len(queries):  # more are as similar as the last one: the first of them
            tied = similarity == least
            room = k - (similarity > least).sum(dim=1, keepdim=True)
            chosen &= ~tied | (tied.cumsum(dim=1) <= room)
        rows = chosen.nonzero()[:, 1].view(len(queries), k)
        order = similarity.gather(1, rows).argsort(dim=1, descending=True, stable=True)
        return rows.gather(1, order)


def _refuse_diverged(finite: object) -> None:
    if not finite:
        raise RunFailed("embeddings are not finite: training diverged. Lower learning_rate, or standardise_features.")
