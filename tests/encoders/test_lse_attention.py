"""The kernels' attention and log-sum-exp are the formula's, for the layouts that branches of dilated attention take."""

import pytest
import torch

from stflow.encoders import lse_attention
from stflow.encoders.lse_attention import attention_with_lse, plain_attention

SHAPES = [(1, 1, 1, 1, 48), (2, 3, 75, 75, 48), (1, 2, 300, 7, 16), (3, 1, 5, 700, 2), (1, 4, 900, 900, 3)]


def make(B: int, H: int, L_q: int, L_k: int, D: int, device: str = "cpu") -> list[torch.Tensor]:
    """Views with strides, as of every third token of some heads: (B, H, L, D)."""
    generator = torch.Generator().manual_seed(B * 1000 + L_q)
    whole = [torch.randn(B, 3 * L, H + 2, D, generator=generator).to(device) for L in (L_q, L_k, L_k)]
    return [tensor[:, 1::3, 1 : H + 1].transpose(1, 2) for tensor in whole]


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / q.shape[-1] ** 0.5
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v.double()), scores.logsumexp(-1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attend", [attention_with_lse, plain_attention])
def test_output_and_lse_are_the_formulas(attend, shape) -> None:
    q, k, v = make(*shape)
    output, lse = attend(q, k, v)
    expected, expected_lse = exact(q, k, v)
    assert output.dtype == lse.dtype == torch.float32
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("attend", [attention_with_lse, plain_attention])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type_and_a_float_lse(attend, dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in make(2, 3, 75, 75, 48))
    output, lse = attend(q, k, v)
    expected, expected_lse = exact(q, k, v)
    assert output.dtype == dtype
    assert lse.dtype == torch.float32
    torch.testing.assert_close(output.double(), expected, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-2, atol=1e-2)


def test_autocast_leaves_the_plain_formula_alone() -> None:
    q, k, v = make(2, 3, 75, 75, 48)
    with torch.autocast("cpu", torch.bfloat16):
        inside = plain_attention(q, k, v)
    for a, b in zip(inside, plain_attention(q, k, v), strict=True):
        assert torch.equal(a, b)


def test_plain_formula_goes_over_queries_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = make(2, 3, 75, 60, 16)
    whole = plain_attention(q, k, v)
    seen = []
    matmul = torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda a, b: seen.append(a.shape[2] * b.shape[3]) or matmul(a, b))
    monkeypatch.setattr(lse_attention, "_SCORES", 2 * 3 * 60 * 4)
    for a, b in zip(plain_attention(q, k, v), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert max(seen) <= 60 * 4
    assert len(seen) == 2 * 19  # scores and values, of 75 queries by fours


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-3), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 48), (2, 3, 75, 75, 48), (1, 16, 1000, 1000, 48)])
def test_kernels_of_cuda_are_the_formula(shape, dtype, limit) -> None:
    q, k, v = (tensor.to(dtype) for tensor in make(*shape, device="cuda"))
    for got, expected in zip(attention_with_lse(q, k, v), exact(q, k, v), strict=True):
        assert got.shape == expected.shape
        torch.testing.assert_close(got.double(), expected, rtol=limit, atol=limit)
