"""Softmax attention that also says how much it saw: the log-sum-exp of its scores, by which branches are weighed.

PyTorch's public attention keeps the log-sum-exp to itself. The kernels beneath return it: one for the CPU, two for
CUDA. They go over keys block by block, so no L_q x L_k matrix is ever held. Where none fits, the plain formula runs
over a few queries at a time.
"""

from __future__ import annotations

import torch

#: Scores that the plain formula holds at a time: 64 MB in float32.
_SCORES = 1 << 24
#: The CUDA kernels read vectors of eight numbers.
_CUDA_MULTIPLE = 8


def attention_with_lse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(q k^T / sqrt(D)) v and the log-sum-exp of q k^T / sqrt(D).

    Parameters
    ----------
    q
        (B, H, L_q, D), of any strides whose last is 1.
    k, v
        (B, H, L_k, D), as ``q``; L_k at least 1.

    Returns
    -------
    output
        (B, H, L_q, D), of ``q``'s type.
    lse
        (B, H, L_q) float32, natural logarithm.
    """
    if q.device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"):
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
        return output, lse.float()
    if q.device.type == "cuda" and q.shape[-1] % _CUDA_MULTIPLE == 0:
        if q.dtype in (torch.float16, torch.bfloat16) and torch.cuda.get_device_capability(q.device) >= (8, 0):
            output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)
        else:
            output, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True)
        # The kernels round L_q up in what they write.
        return output, lse[..., : q.shape[2]].float()
    return plain_attention(q, k, v)


def plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `attention_with_lse`, by the formula itself, at most 64 MB of scores at a time."""
    B, H, _, D = q.shape  # batch, heads, queries, numbers a head
    rows = max(1, _SCORES // (B * H * k.shape[2]))
    outputs, lses = [], []
    with torch.autocast(q.device.type, enabled=False):  # scores stay float32, as in the kernels
        for some in q.split(rows, dim=2):
            scores = torch.matmul(some.float(), k.float().transpose(2, 3)) * D**-0.5
            lse = scores.logsumexp(dim=3)
            outputs.append(torch.matmul((scores - lse[..., None]).exp_(), v.float()).to(q.dtype))
            lses.append(lse)
    return torch.cat(outputs, dim=2), torch.cat(lses, dim=2)
