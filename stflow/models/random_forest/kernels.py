"""Compiled parts of the forest: growing a tree, walking down many, putting one in order.

A tree is grown depth first. At each node, every feature's spots are added up by bin, eight features at a time, and
only bins that hold a spot are looked at: near the leaves, where most nodes are, a node's cost goes with its spots and
not with the number of bins. A bin's count and sum are one integer (`cpu.Target`), so sums are exact, in any order.

A split leaves the bins up to the middle between two neighbouring ones to the left. Of equally good features the one
whose hash is largest wins: among two or three spots nearly every feature is as good as the next, and always taking the
first would make trees alike.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

_u8 = np.uint64
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")

#: Nodes of more spots read the words of one group of features, smaller ones those of their spots.
MANY_SPOTS = 2000

#: Spots that walk down the trees together, so that their bins stay in the cache.
SPOTS_TOGETHER = 256


@intrinsic
def _lowest_bit(context: Any, x: Any) -> Any:
    """Number of the lowest bit that is set in a 64-bit word."""

    def build(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return numba.types.uint64(numba.types.uint64), build


@_inlined
def _hash(x):
    """The finaliser of SplitMix64."""
    x ^= x >> _u8(30)
    x *= _u8(0xBF58476D1CE4E5B9)
    x ^= x >> _u8(27)
    x *= _u8(0x94D049BB133111EB)
    return x ^ (x >> _u8(31))


@_inlined
def _add_eight(words, first, step, spots, packed, lo, hi, sums, present):
    """Add spots lo to hi to the bins of eight features: (8, 256) sums, and a bit for each bin that holds one.

    A spot's word is number ``first + step * spot``.
    """
    for i in range(lo, hi):
        word, both = words[first + step * spots[i]], packed[i]
        for j in range(8):
            b = (word >> _u8(8 * j)) & _u8(255)
            sums[j, b] += both
            present[j, b >> _u8(6)] |= _u8(1) << (b & _u8(63))


@_inlined
def _add_one(words, first, step, j, spots, packed, lo, hi, sums, present):
    """The same for the j-th of the eight."""
    for i in range(lo, hi):
        b = (words[first + step * spots[i]] >> _u8(8 * j)) & _u8(255)
        sums[j, b] += packed[i]
        present[j, b >> _u8(6)] |= _u8(1) << (b & _u8(63))


@_inlined
def _best_cut(sums, present, n_words, both, shift, least, inverse, bar):
    """Best split of one feature: its gain, if above ``bar``; the last bin to the left; whether there are two bins.

    The gain is S_l^2 / n_l + S_r^2 / n_r, which ranks splits as the squared error does. Clears what it has read.
    """
    low = (_u8(1) << shift) - _u8(1)
    n, total = both >> shift, np.float64(both & low)
    left, last, held, cut = _u8(0), _u8(0), _u8(0), _u8(0)
    for w in range(n_words):
        bits = present[w]
        present[w] = _u8(0)
        while bits:
            b = _u8(64 * w) + _lowest_bit(bits)
            bits &= bits - _u8(1)
            held = sums[b]
            sums[b] = _u8(0)
            n_left, of_left = left >> shift, np.float64(left & low)
            of_right = total - of_left
            gain = of_left * of_left * inverse[n_left] + of_right * of_right * inverse[n - n_left]
            if gain > bar and n_left >= least and n - n_left >= least:
                bar, cut = gain, (last + b) >> _u8(1)
            left += held
            last = b
    return bar, cut, held != both


@_compiled
def grow(
    by_group, by_spot, n_spots, D, n_bins, spots, packed, steps, shift, inverse, depth, min_leaf, n_tried, key,
    feature, cut, after, means,
):  # fmt: skip
    """Grow one tree; fills the arrays of `trees.Tree` and gives the number of its nodes and of its leaves.

    ``spots``, ``packed`` and ``steps`` (spots drawn, `cpu.Target`) are put in the order of the leaves; ``inverse[n]``
    is 1 / n; ``n_tried`` features that differ within the node are tried, chosen by hashes of ``key``.
    """
    shift, least, n_spots, n_words_a_spot = _u8(shift), _u8(min_leaf), _u8(n_spots), _u8(len(by_spot) // n_spots)
    low = (_u8(1) << shift) - _u8(1)
    n_words = (n_bins + 63) // 64
    sums, present = np.zeros((8, 256), dtype=_u8), np.zeros((8, 4), dtype=_u8)
    order = np.arange(D)
    spare = np.empty_like(spots), np.empty_like(packed), np.empty_like(steps)
    # First and last spot, splits above, and the node whose right child this is.
    stack = np.empty((depth + 1, 4), dtype=np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, len(spots), 0, -1
    waiting, n_nodes, n_leaves = 1, 0, 0
    while waiting:
        waiting -= 1
        lo, hi, level, parent = stack[waiting, 0], stack[waiting, 1], stack[waiting, 2], stack[waiting, 3]
        node = n_nodes
        n_nodes += 1
        if parent >= 0:
            after[parent] = node
        both, pure = _u8(0), True
        for i in range(lo, hi):
            both += packed[i]
            pure &= steps[i] == steps[lo]
        n = both >> shift
        best, bar, best_feature, best_cut, best_hash = 0.0, -1.0, -1, _u8(0), _u8(0)
        if not (pure or level == depth or n < _u8(2) * least):
            node_key = key + _u8(node) * _u8(0x9E3779B97F4A7C15)
            many = hi - lo > MANY_SPOTS
            words, apart, step = (by_group, n_spots, _u8(1)) if many else (by_spot, _u8(1), n_words_a_spot)
            tried = 0
            for turn in range(D):
                f = turn
                if n_tried < D:
                    if tried == n_tried:
                        break
                    other = turn + np.int64(_hash(node_key + _u8(turn)) % _u8(D - turn))
                    f, order[other] = order[other], order[turn]
                    order[turn] = f
                    _add_one(words, _u8(f >> 3) * apart, step, f & 7, spots, packed, lo, hi, sums, present)
                elif f & 7 == 0:
                    _add_eight(words, _u8(f >> 3) * apart, step, spots, packed, lo, hi, sums, present)
                gain, where, differs = _best_cut(sums[f & 7], present[f & 7], n_words, both, shift, least, inverse, bar)
                tried += differs
                if gain >= best:
                    rank = _hash(node_key ^ (_u8(f) << _u8(32)))
                    if gain > best or rank > best_hash:
                        best, best_feature, best_cut, best_hash = gain, f, where, rank
                        bar = np.nextafter(best, 0.0)  # an equal gain is still worth a look
            if n_tried == D:
                # The last word's features beyond D hold all spots in one bin.
                for j in range(D & 7, 8):
                    sums[j, 0], present[j, 0] = _u8(0), _u8(0)
        feature[node] = best_feature
        cut[node] = best_cut
        if best_feature < 0:
            after[node] = n_leaves
            means[n_leaves] = np.float64(both & low) / np.float64(n)
            n_leaves += 1
            continue
        first, move = _u8(best_feature >> 3) * n_spots, _u8(8 * (best_feature & 7))
        middle, n_right = lo, 0
        for i in range(lo, hi):
            right = (by_group[first + spots[i]] >> move) & _u8(255) > best_cut
            spare[0][n_right], spare[1][n_right], spare[2][n_right] = spots[i], packed[i], steps[i]
            spots[middle], packed[middle], steps[middle] = spots[i], packed[i], steps[i]
            n_right += right
            middle += not right
        spots[middle:hi], packed[middle:hi], steps[middle:hi] = (
            spare[0][:n_right],
            spare[1][:n_right],
            spare[2][:n_right],
        )
        for start, stop, above in ((middle, hi, node), (lo, middle, -1)):
            stack[waiting, 0], stack[waiting, 1] = start, stop
            stack[waiting, 2], stack[waiting, 3] = level + 1, above
            waiting += 1
    return n_nodes, n_leaves


@_compiled
def add_leaves(bins, roots, leaves, feature, cut, after, value, total):
    """Add each tree's leaf to (N, G) ``total`` for (N, D) bins; the other arrays are those of `trees.Trees`."""
    for start in range(0, len(bins), SPOTS_TOGETHER):
        stop = min(start + SPOTS_TOGETHER, len(bins))
        for g in range(roots.shape[0]):
            for t in range(roots.shape[1]):
                root = roots[g, t]
                for i in range(start, stop):
                    node = root
                    f = feature[node]
                    while f >= 0:
                        node = node + 1 if bins[i, f] <= cut[node] else root + after[node]
                        f = feature[node]
                    total[i, g] += value[leaves[g, t] + after[node]]


@_compiled
def preorder(left, right):
    """Rows of a tree in preorder, and for each in that order the place of its right child, 0 at a leaf."""
    order, after = np.empty_like(left), np.zeros_like(left)
    stack, parents = np.empty_like(left), np.empty_like(left)
    stack[0], parents[0] = 0, -1
    waiting, n = 1, 0
    while waiting:
        waiting -= 1
        row, parent = stack[waiting], parents[waiting]
        order[n] = row
        if parent >= 0:
            after[parent] = n
        if left[row] >= 0:
            stack[waiting], parents[waiting] = right[row], n
            stack[waiting + 1], parents[waiting + 1] = left[row], -1
            waiting += 2
        n += 1
    return order, after
