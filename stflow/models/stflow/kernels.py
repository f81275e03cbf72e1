"""The formulas of `edge_attention` and of `layers.GatedNorm` for the CPU, compiled: row by row, in the nearest cache.

A spot's edges pass through hundreds of numbers each; as whole arrays these are moved to and from memory a dozen times,
and moving them is what costs. Here a spot's rows stay where they are until only its context, or its gradient, is left.
Nothing of an edge is kept between the forward and the backward pass.

Dropout needs no masks: whether a unit is dropped is a hash of a key and of the unit's number, asked again when needed.

Arrays are float32 and contiguous; names are those of `edge_attention`, with a ``t`` for a transposed weight. Every
kernel works on the rows lo to hi, so that threads share the rows of one call.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_f4, _u4, _i4 = np.float32, np.uint32, np.int32
# NaN and infinity stay what they are. Sums may be in any order only in the functions that do nothing else: a loop that
# also writes is compiled twice, for arrays that overlap and for those that do not, and which of the two runs depends on
# where memory was given; were their sums in other orders, so were the last bits.
_MATHS = {"contract", "arcp", "nsz"}
_compiled = numba.njit(cache=True, nogil=True, fastmath=_MATHS, error_model="numpy")
_summing = numba.njit(cache=True, nogil=True, fastmath={"reassoc", *_MATHS}, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, fastmath=_MATHS, error_model="numpy", inline="always")

#: Added to the variance, as `torch.nn.LayerNorm` does.
EPSILON = 1e-5

#: Which key of a call drops what.
EDGE_HIDDEN, EDGE_OUT, LOGIT_HIDDEN, LOGIT_OUT, WEIGHT = range(5)
N_KEYS = 5

_LOG2_E = _f4(math.log2(math.e))
# Taylor's series of 2^r, |r| <= 1/2: right to the last bit but one of a float32.
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (_f4(math.log(2) ** k / math.factorial(k)) for k in range(7))


@_summing
def _sum(x):
    total = _f4(0.0)
    for u in range(len(x)):
        total += x[u]
    return total


@_summing
def _dot(x, y):
    total = _f4(0.0)
    for u in range(len(x)):
        total += x[u] * y[u]
    return total


@_inlined
def _sigmoid(x):
    """1 / (1 + 2^(n + r)) with n whole: arithmetic alone, so that the compiler can do many at once."""
    t = min(max(-x * _LOG2_E, _f4(-80.0)), _f4(80.0))
    n = np.floor(t + _f4(0.5))
    r = t - n
    power = _E0 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    whole = _i4((_i4(n) + _i4(127)) << _i4(23)).view(_f4)
    return _f4(1.0) / (_f4(1.0) + power * whole)


@_inlined
def _kept(key, unit, threshold):
    """1.0 if a unit stays, 0.0 if it is dropped: an integer hash (the finaliser of MurmurHash3) against 2^16 p."""
    x = _u4(unit * _u4(0x9E3779B9) + key)
    x = _u4(x ^ (x >> _u4(16)))
    x = _u4(x * _u4(0x85EBCA6B))
    x = _u4(x ^ (x >> _u4(13)))
    x = _u4(x * _u4(0xC2B2AE35))
    return _f4(1.0) if (x >> _u4(16)) >= threshold else _f4(0.0)


@_inlined
def _gate(pre, hidden, key, first, threshold):
    """``SiLU(a) * b``, what is dropped set to 0; centred. Gives the sum of its squares."""
    n = len(hidden)
    if threshold > 0:
        for u in range(n):
            a = pre[u]
            hidden[u] = a * _sigmoid(a) * pre[n + u] * _kept(key, _u4(first + _u4(u)), threshold)
    else:
        for u in range(n):
            a = pre[u]
            hidden[u] = a * _sigmoid(a) * pre[n + u]
    mean = _sum(hidden) / _f4(n)
    for u in range(n):
        hidden[u] -= mean
    return _dot(hidden, hidden)


@_inlined
def _gate_backward(d_hidden, pre, key, first, threshold):
    """The gradient of ``pre`` in its own place: d(a s b) = (s + a s (1 - s)) b da + a s db."""
    n = len(d_hidden)
    for u in range(n):
        a, b = pre[u], pre[n + u]
        s = _sigmoid(a)
        t = a * s
        g = d_hidden[u] * _kept(key, _u4(first + _u4(u)), threshold)
        pre[u] = (t + s * (_f4(1.0) - t)) * b * g
        pre[n + u] = t * g


@_inlined
def _first_map(x, w_1t, b_1, pre):
    """The edge network's first map of one frame's three numbers."""
    x0, x1, x2 = x[0], x[1], x[2]
    for u in range(len(pre)):
        pre[u] = b_1[u] + x0 * w_1t[0, u] + x1 * w_1t[1, u] + x2 * w_1t[2, u]


@_compiled
def _edges_of(i, x, w_1t, b_1, w_2t, b_2, keys, threshold, scale, pre, hidden, mean, c):
    """Edge vectors (K, d_edge) of spot i into ``c``, and the means over frames (K, n_e / 2) into ``mean``."""
    K, F, _ = x.shape
    n, d_edge = mean.shape[1], c.shape[1]
    epsilon = _f4(EPSILON) / (scale * scale)
    for k in range(K):
        mean[k] = _f4(0.0)
        for f in range(F):
            _first_map(x[k, f], w_1t, b_1, pre)
            squares = _gate(pre, hidden, keys[EDGE_HIDDEN], _u4(((i * K + k) * F + f) * n), threshold)
            factor = _f4(1.0) / (np.sqrt(squares / _f4(n) + epsilon) * _f4(F))
            for u in range(n):
                mean[k, u] += hidden[u] * factor
    np.dot(mean, w_2t, c)
    for k in range(K):
        for u in range(d_edge):
            c[k, u] += b_2[u]
            if threshold > 0:
                c[k, u] *= _kept(keys[EDGE_OUT], _u4((i * K + k) * d_edge + u), threshold) * scale


@_compiled
def _weights_of(
    i, q, theirs, of_y, index, present, c, w_qt, b_q, w_ct, w_l, b_l, keys, thresholds, scales, own, pre, hidden, out
):
    """Attention of spot i to its neighbours.

    Leaves the logit network's first map in ``pre`` (R, n), R = K H, and in rows of ``out`` (4, R): one over the
    deviation of the hidden units, the logit before its shift, the softmax, and the softmax after dropout.
    """
    K = len(index)
    H, n = own.shape
    half = n // 2
    R = K * H
    epsilon = _f4(EPSILON) / (scales[0] * scales[0])
    np.dot(q[i].reshape(H, -1), w_qt, own)
    for h in range(H):
        for u in range(n):
            own[h, u] += b_q[u] - of_y[i, u]
    np.dot(c.reshape(R, -1), w_ct, pre)
    for k in range(K):
        row, y = theirs[index[k]], of_y[index[k]]
        for h in range(H):
            for u in range(n):
                pre[k * H + h, u] += own[h, u] + row[h * n + u] + y[u]
    for r in range(R):
        squares = _gate(pre[r], hidden, keys[LOGIT_HIDDEN], _u4((i * R + r) * half), thresholds[0])
        factor = _f4(1.0) / np.sqrt(squares / _f4(half) + epsilon)
        logit = _dot(hidden, w_l) * factor
        out[0, r], out[1, r] = factor, logit
        logit += b_l
        if thresholds[0] > 0:
            logit *= _kept(keys[LOGIT_OUT], _u4(i * R + r), thresholds[0]) * scales[0]
        out[2, r] = logit
    for h in range(H):
        largest = _f4(-np.inf)
        for k in range(K):
            if present[k]:
                largest = max(largest, out[2, k * H + h])
        total = _f4(0.0)
        for k in range(K):
            r = k * H + h
            out[2, r] = np.exp(out[2, r] - largest) if present[k] else _f4(0.0)
            total += out[2, r]
        for k in range(K):
            r = k * H + h
            if total > 0:
                out[2, r] /= total
            out[3, r] = out[2, r] * _kept(keys[WEIGHT], _u4(i * R + r), thresholds[1]) * scales[1]


@_compiled
def edge_vectors(lo, hi, x, w_1t, b_1, w_2t, b_2, out):
    """Edge vectors of spots lo to hi, without dropout, into ``out`` (M, K, d_edge)."""
    K, n_e = x.shape[1], len(b_1)
    keys = np.zeros(N_KEYS, dtype=_u4)
    pre, hidden = np.empty(n_e, dtype=_f4), np.empty(n_e // 2, dtype=_f4)
    mean = np.empty((K, n_e // 2), dtype=_f4)
    for i in range(lo, hi):
        _edges_of(i, x[i], w_1t, b_1, w_2t, b_2, keys, _u4(0), _f4(1.0), pre, hidden, mean, out[i])


@_compiled
def attend(lo, hi, q, theirs, of_y, v, c, index, present, w_qt, b_q, w_ct, w_l, b_l, out):
    """Context of spots lo to hi from given edge vectors, without dropout, into ``out`` (M, d + d_edge)."""
    K, n = index.shape[1], len(b_q)
    H = theirs.shape[1] // n
    keys, thresholds = np.zeros(N_KEYS, dtype=_u4), np.zeros(2, dtype=_u4)
    scales = np.ones(2, dtype=_f4)
    own, pre, hidden = np.empty((H, n), dtype=_f4), np.empty((K * H, n), dtype=_f4), np.empty(n // 2, dtype=_f4)
    a = np.empty((4, K * H), dtype=_f4)
    for i in range(lo, hi):
        _weights_of(
            i, q, theirs, of_y, index[i], present[i], c[i], w_qt, b_q, w_ct, w_l, b_l, keys, thresholds, scales,
            own, pre, hidden, a,
        )  # fmt: skip
        _context(v, c[i], index[i], a[3], H, out[i])


@_inlined
def _context(v, c, index, weights, H, out):
    """``[sum_j A_ij v_j, sum_j A_ij c_ij]`` of one spot."""
    d, d_edge = v.shape[1], c.shape[1]
    d_v, d_c = d // H, d_edge // H
    out[:] = _f4(0.0)
    for k in range(len(index)):
        row = v[index[k]]
        for h in range(H):
            weight = weights[k * H + h]
            for u in range(d_v):
                out[h * d_v + u] += weight * row[h * d_v + u]
            for u in range(d_c):
                out[d + h * d_c + u] += weight * c[k, h * d_c + u]


@_compiled
def forward(
    lo, hi, q, theirs, of_y, v, x, index, present, w_1t, b_1, w_2t, b_2, w_qt, b_q, w_ct, w_l, b_l,
    keys, thresholds, scales, out,
):  # fmt: skip
    """Context of spots lo to hi into ``out`` (M, d + d_edge)."""
    K, n, n_e, d_edge = index.shape[1], len(b_q), len(b_1), len(b_2)
    H = theirs.shape[1] // n
    pre_e, hidden_e = np.empty(n_e, dtype=_f4), np.empty(n_e // 2, dtype=_f4)
    mean, c = np.empty((K, n_e // 2), dtype=_f4), np.empty((K, d_edge), dtype=_f4)
    own, pre, hidden = np.empty((H, n), dtype=_f4), np.empty((K * H, n), dtype=_f4), np.empty(n // 2, dtype=_f4)
    a = np.empty((4, K * H), dtype=_f4)
    for i in range(lo, hi):
        _edges_of(i, x[i], w_1t, b_1, w_2t, b_2, keys, thresholds[0], scales[0], pre_e, hidden_e, mean, c)
        _weights_of(
            i, q, theirs, of_y, index[i], present[i], c, w_qt, b_q, w_ct, w_l, b_l, keys, thresholds, scales,
            own, pre, hidden, a,
        )  # fmt: skip
        _context(v, c, index[i], a[3], H, out[i])


@_compiled
def backward(
    lo, hi, q, theirs, of_y, v, x, index, present, w_1t, b_1, w_2t, b_2, w_qt, b_q, w_ct, w_l, b_l,
    keys, thresholds, scales, w_2, w_q, w_c, grad, d_q_all,
    d_theirs, d_of_y, d_v, d_w_1t, d_b_1, d_w_2t, d_b_2, d_w_qt, d_b_q, d_w_ct, d_w_l, d_b_l,
):  # fmt: skip
    """Gradients from (M, d + d_edge) ``grad`` for spots lo to hi: ``d_q_all`` is set, all others are added to."""
    K, F, n = index.shape[1], x.shape[2], len(b_q)
    H = theirs.shape[1] // n
    R, half, n_e, d_edge, d = K * H, n // 2, len(b_1), len(b_2), v.shape[1]
    half_e, d_h, e_h = n_e // 2, d // H, d_edge // H
    pre_e, hidden_e, d_hidden_e = np.empty(n_e, dtype=_f4), np.empty(half_e, dtype=_f4), np.empty(half_e, dtype=_f4)
    mean, c = np.empty((K, half_e), dtype=_f4), np.empty((K, d_edge), dtype=_f4)
    d_mean, d_c = np.empty((K, half_e), dtype=_f4), np.empty((K, d_edge), dtype=_f4)
    own, pre, hidden = np.empty((H, n), dtype=_f4), np.empty((R, n), dtype=_f4), np.empty(half, dtype=_f4)
    a, d_own, of_w_qt = np.empty((4, R), dtype=_f4), np.empty((H, n), dtype=_f4), np.empty_like(d_w_qt)
    d_hidden, d_logit = np.empty(half, dtype=_f4), np.empty(R, dtype=_f4)
    of_w_ct, of_w_2t, of_c = np.empty_like(d_w_ct), np.empty_like(d_w_2t), np.empty((R, e_h), dtype=_f4)
    w_slope = w_l - _sum(w_l) / _f4(half)
    epsilon = _f4(EPSILON) / (scales[0] * scales[0])
    for i in range(lo, hi):
        _edges_of(i, x[i], w_1t, b_1, w_2t, b_2, keys, thresholds[0], scales[0], pre_e, hidden_e, mean, c)
        _weights_of(
            i, q, theirs, of_y, index[i], present[i], c, w_qt, b_q, w_ct, w_l, b_l, keys, thresholds, scales,
            own, pre, hidden, a,
        )  # fmt: skip
        g = grad[i]
        # Context: to the values, the edge vectors and the attention weights.
        for k in range(K):
            row, d_row = v[index[i, k]], d_v[index[i, k]]
            for h in range(H):
                weight = a[3, k * H + h]
                g_v, g_c = g[h * d_h : (h + 1) * d_h], g[d + h * e_h : d + (h + 1) * e_h]
                slope = _dot(row[h * d_h : (h + 1) * d_h], g_v) + _dot(c[k, h * e_h : (h + 1) * e_h], g_c)
                for u in range(d_h):
                    d_row[h * d_h + u] += weight * g_v[u]
                for u in range(e_h):
                    d_c[k, h * e_h + u] = weight * g_c[u]
                d_logit[k * H + h] = slope * _kept(keys[WEIGHT], _u4(i * R + k * H + h), thresholds[1]) * scales[1]
        # Softmax, and the logit's own dropout.
        for h in range(H):
            total = _f4(0.0)
            for k in range(K):
                total += a[2, k * H + h] * d_logit[k * H + h]
            for k in range(K):
                r = k * H + h
                d_logit[r] = a[2, r] * (d_logit[r] - total)
                if thresholds[0] > 0:
                    d_logit[r] *= _kept(keys[LOGIT_OUT], _u4(i * R + r), thresholds[0]) * scales[0]
        # Logit network: l = w_l . h f with h centred, so dl/dh = f (w_l - mean(w_l)) - h f^2 l / n.
        for r in range(R):
            first = _u4((i * R + r) * half)
            _gate(pre[r], hidden, keys[LOGIT_HIDDEN], first, thresholds[0])
            along = d_logit[r] * a[0, r]
            back = -along * a[0, r] * a[1, r] / _f4(half)
            for u in range(half):
                d_w_l[u] += along * hidden[u]
                d_hidden[u] = along * w_slope[u] + back * hidden[u]
            d_b_l[0] += d_logit[r]
            _gate_backward(d_hidden, pre[r], keys[LOGIT_HIDDEN], first, thresholds[0])
        d_own[:] = _f4(0.0)
        for k in range(K):
            d_row, d_y = d_theirs[index[i, k]], d_of_y[index[i, k]]
            for h in range(H):
                for u in range(n):
                    d_own[h, u] += pre[k * H + h, u]
                    d_row[h * n + u] += pre[k * H + h, u]
                    d_y[u] += pre[k * H + h, u]
        for h in range(H):
            for u in range(n):
                d_b_q[u] += d_own[h, u]
                d_of_y[i, u] -= d_own[h, u]
        np.dot(q[i].reshape(H, d_h).T, d_own, of_w_qt)
        d_w_qt += of_w_qt
        np.dot(d_own, w_q, d_q_all[i].reshape(H, d_h))
        np.dot(c.reshape(R, e_h).T, pre, of_w_ct)
        d_w_ct += of_w_ct
        np.dot(pre, w_c, of_c)
        d_c += of_c.reshape(K, d_edge)
        # Edge network.
        for k in range(K):
            for u in range(d_edge):
                if thresholds[0] > 0:
                    d_c[k, u] *= _kept(keys[EDGE_OUT], _u4((i * K + k) * d_edge + u), thresholds[0]) * scales[0]
                d_b_2[u] += d_c[k, u]
        np.dot(mean.T, d_c, of_w_2t)
        d_w_2t += of_w_2t
        np.dot(d_c, w_2, d_mean)
        for k in range(K):
            level = _sum(d_mean[k]) / _f4(half_e)
            for f in range(F):
                first = _u4(((i * K + k) * F + f) * half_e)
                _first_map(x[i, k, f], w_1t, b_1, pre_e)
                squares = _gate(pre_e, hidden_e, keys[EDGE_HIDDEN], first, thresholds[0])
                factor = _f4(1.0) / np.sqrt(squares / _f4(half_e) + epsilon)
                # Through the normalisation: factor (g - mean(g) - normal mean(g normal)), g = d_mean / F.
                slope = _dot(d_mean[k], hidden_e) * factor * factor / _f4(half_e)
                for u in range(half_e):
                    d_hidden_e[u] = (d_mean[k, u] - level - hidden_e[u] * slope) * factor / _f4(F)
                _gate_backward(d_hidden_e, pre_e, keys[EDGE_HIDDEN], first, thresholds[0])
                for u in range(n_e):
                    d_b_1[u] += pre_e[u]
                    d_w_1t[0, u] += x[i, k, f, 0] * pre_e[u]
                    d_w_1t[1, u] += x[i, k, f, 1] * pre_e[u]
                    d_w_1t[2, u] += x[i, k, f, 2] * pre_e[u]


@_compiled
def gated_norm(lo, hi, pre, bias, key, threshold, scale, out):
    """Rows lo to hi of (M, 2n) ``pre`` plus ``bias``: gated, normalised, into ``out`` (M, n)."""
    n = out.shape[1]
    epsilon = _f4(EPSILON) / (scale * scale)
    shifted = np.empty(2 * n, dtype=_f4)
    for i in range(lo, hi):
        for u in range(2 * n):
            shifted[u] = pre[i, u] + bias[u]
        squares = _gate(shifted, out[i], key, _u4(i * n), threshold)
        factor = _f4(1.0) / np.sqrt(squares / _f4(n) + epsilon)
        for u in range(n):
            out[i, u] *= factor


@_compiled
def gated_norm_backward(lo, hi, pre, bias, key, threshold, scale, grad, out):
    """Gradient of rows lo to hi of ``pre`` from (M, n) ``grad``, into ``out`` (M, 2n)."""
    n = grad.shape[1]
    epsilon = _f4(EPSILON) / (scale * scale)
    hidden = np.empty(n, dtype=_f4)
    for i in range(lo, hi):
        row = out[i]
        for u in range(2 * n):
            row[u] = pre[i, u] + bias[u]
        squares = _gate(row, hidden, key, _u4(i * n), threshold)
        factor = _f4(1.0) / np.sqrt(squares / _f4(n) + epsilon)
        # factor (g - mean(g) - normal mean(g normal))
        level = _sum(grad[i]) / _f4(n)
        slope = _dot(grad[i], hidden) * factor * factor / _f4(n)
        for u in range(n):
            hidden[u] = (grad[i, u] - level - hidden[u] * slope) * factor
        _gate_backward(hidden, row, key, _u4(i * n), threshold)
