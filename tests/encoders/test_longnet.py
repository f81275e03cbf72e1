"""LongNet is the published one: by its answers, by a formula written anew, and by its tensors' names.

``golden/longnet.npz`` holds answers of the released GigaPath code (commit 09d8e87) in float32 on a CPU, where a softmax
with its log-sum-exp stood in for flash attention. Weights and inputs come from the rules below, so that only rows of
the states are stored: after the last layer, after the layers' norm, and after the final one.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stflow.encoders.longnet import GRID_CELLS, RATIOS, SEGMENT_LENGTHS, LongNet, dilated_attention, positions

GOLDEN = Path(__file__).parent / "golden" / "longnet.npz"
SHORT = (8, 16, 32, 64, 128)
IN_DIM, DEPTH = 16, 2
#: name -> size of a token, heads, tiles, segment lengths
CASES = {
    "n700": (32, 16, 700, SEGMENT_LENGTHS),
    "n1500": (32, 16, 1500, SEGMENT_LENGTHS),
    "n2003": (32, 16, 2003, SEGMENT_LENGTHS),
    "n6100": (32, 16, 6100, SEGMENT_LENGTHS),
    "short_n5": (32, 16, 5, SHORT),
    "short_n130": (32, 16, 130, SHORT),
    "short_n301": (32, 16, 301, SHORT),
    "six_heads_n100": (24, 6, 100, SHORT),
    "flat_n4": (32, 16, 4, SHORT),
}


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """What the golden weights are: normal by a seed of the name, matrices by their width, norms about 1."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("weight"):
        values = values * (1.5 / np.sqrt(shape[1])) if len(shape) == 2 else 1 + 0.1 * values
    elif name.endswith("bias"):
        values = 0.1 * values
    return torch.from_numpy(values.astype(np.float32))


def make_network(dim: int, heads: int, lengths: tuple[int, ...]) -> LongNet:
    network = LongNet(dim, DEPTH, heads, IN_DIM, lengths, RATIOS).eval()
    network.load_state_dict({name: weight(name, tuple(own.shape)) for name, own in network.state_dict().items()})
    return network


def make_tiles(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(n)
    features = generator.standard_normal((n, IN_DIM)).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(generator.integers(0, GRID_CELLS, (n, 2)))


@pytest.mark.parametrize("case", CASES)
def test_states_are_the_released_codes(case: str) -> None:
    dim, heads, n, lengths = CASES[case]
    network = make_network(dim, heads, lengths)
    if case.startswith("flat"):  # all scores are 0, and so is the log-sum-exp of a lone key
        for name, own in network.named_parameters():
            if "q_proj" in name:
                own.data.zero_()
    rows = np.unique(np.linspace(0, n, 48).round().astype(int))
    last: list[torch.Tensor] = []
    network.encoder.layers[-1].register_forward_hook(lambda module, arguments, output: last.append(output))
    with torch.inference_mode():
        states = network(*make_tiles(n))
        normed = network.norm(states)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(last[0].numpy()[rows[::3]], golden[f"{case}_last"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(states.numpy()[rows], golden[case], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(normed.numpy()[rows[::3]], golden[f"{case}_normed"], rtol=1e-5, atol=1e-5)


def test_positions_are_rows_of_the_released_table() -> None:
    with np.load(GOLDEN) as golden:
        table = positions(torch.from_numpy(golden["position_cells"].astype(np.int64)), 32)
        np.testing.assert_array_equal(table.numpy(), golden["positions"])


def test_positions_of_the_published_size_follow_the_formula() -> None:
    column, row = 640, 3
    (got,) = positions(torch.tensor([[column, row]]), 768).double().numpy()
    for index, place in ((0, row), (384, column)):
        for i in (0, 1, 100, 191):
            angle = place / 10000 ** (i / 192)
            assert got[index + i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert got[index + 192 + i] == pytest.approx(np.cos(angle), abs=1e-6)


# -- dilated attention ---------------------------------------------------------------------------------------


def by_the_definition(q: np.ndarray, k: np.ndarray, v: np.ndarray, lengths, ratios) -> np.ndarray:
    """Dilated attention a token, a head and a branch at a time, in float64, with the zeros written out."""
    L, H, D = q.shape
    result = np.zeros((L, H, D))
    for head in range(H):
        for t in range(L):
            outputs, denominators = [], []
            for length, ratio in zip(lengths, ratios, strict=True):
                length = min(length, L)
                first, offset = t // length * length, head // -(-H // ratio)
                if (t - first) % ratio != offset:
                    continue
                places = [first + offset + ratio * i for i in range(-(-length // ratio))]
                last = min(first + length, L)
                keys = np.array([k[u, head] if u < last else np.zeros(D) for u in places])
                values = np.array([v[u, head] if u < last else np.zeros(D) for u in places])
                exponentials = np.exp(keys @ q[t, head] / np.sqrt(D))
                denominators.append(exponentials.sum())
                outputs.append(exponentials @ values / exponentials.sum())
            shares = np.array(denominators) / sum(denominators)
            result[t, head] = shares @ np.array(outputs)
    return result


@pytest.mark.parametrize(
    ("L", "H", "lengths", "ratios"),
    [
        (1, 16, SHORT, RATIOS),
        (3, 16, SHORT, RATIOS),
        (40, 16, SHORT, RATIOS),
        (77, 16, SHORT, RATIOS),
        (77, 6, SHORT, RATIOS),
        (50, 1, (8, 50), (1, 3)),
        (61, 5, (7, 20, 45), (1, 2, 3)),
        (33, 16, SEGMENT_LENGTHS, RATIOS),
    ],
)
def test_dilated_attention_is_its_definition(L, H, lengths, ratios) -> None:
    q, k, v = np.random.default_rng(L * H).standard_normal((3, L, H, 4))
    got = dilated_attention(*(torch.from_numpy(x.astype(np.float32)) for x in (q, k, v)), lengths, ratios)
    np.testing.assert_allclose(got.numpy(), by_the_definition(q, k, v, lengths, ratios), rtol=2e-5, atol=2e-6)


def test_one_segment_of_ratio_one_is_dense_attention() -> None:
    q, k, v = torch.randn(3, 100, 4, 8, generator=torch.Generator().manual_seed(0))
    dense = torch.nn.functional.scaled_dot_product_attention(*(x.transpose(0, 1) for x in (q, k, v)))
    torch.testing.assert_close(dilated_attention(q, k, v, (1024,), (1,)), dense.transpose(0, 1), rtol=1e-5, atol=1e-6)


def test_order_matters_even_within_one_segment() -> None:
    # Four of the five branches see strides of the sequence, however short it is.
    q, k, v = torch.randn(3, 64, 16, 8, generator=torch.Generator().manual_seed(0))
    forth = dilated_attention(q, k, v, SEGMENT_LENGTHS, RATIOS)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    back = dilated_attention(q[order], k[order], v[order], SEGMENT_LENGTHS, RATIOS)
    assert (back - forth[order]).abs().max() > 1e-2


class Largest(TorchDispatchMode):
    """The most numbers that any tensor held."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in (result if isinstance(result, list | tuple) else [result]) if isinstance(x, torch.Tensor)]
        self.numbers = max([self.numbers, *(x.numel() for x in tensors)])
        return result


def test_no_tensor_grows_with_the_square_of_the_tokens() -> None:
    L, H, D = 7000, 16, 2
    q, k, v = torch.randn(3, L, H, D, generator=torch.Generator().manual_seed(0))
    with Largest() as largest, torch.inference_mode():
        dilated_attention(q, k, v, SEGMENT_LENGTHS, RATIOS)
    # Five log-sum-exps a token and head are the most; the scores of the first branch alone would be 16 x 1024 a token.
    assert L * H * D <= largest.numbers <= len(RATIOS) * L * H


# -- names and sizes -----------------------------------------------------------------------------------------


def test_tensors_of_the_published_size() -> None:
    with torch.device("meta"):
        network = LongNet()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert len(shapes) == 12 * 20 + 7
    # As the published notebook prints them.
    assert sum(own.numel() for own in network.encoder.parameters()) == 85_148_160
    assert sum(own.numel() for own in network.parameters()) == 86_330_880
    layer = "encoder.layers.11."
    expected = {
        "cls_token": (1, 1, 768),
        "patch_embed.proj.weight": (768, 1536),
        "patch_embed.proj.bias": (768,),
        **{f"{layer}self_attn.{name}_proj.weight": (768, 768) for name in ("q", "k", "v", "out")},
        **{f"{layer}self_attn.{name}_proj.bias": (768,) for name in ("q", "k", "v", "out")},
        f"{layer}self_attn.inner_attn_ln.weight": (768,),
        f"{layer}self_attn_layer_norm.bias": (768,),
        f"{layer}ffn.fc1.weight": (3072, 768),
        f"{layer}ffn.fc2.weight": (768, 3072),
        f"{layer}ffn.ffn_layernorm.weight": (3072,),
        f"{layer}final_layer_norm.weight": (768,),
        "encoder.layer_norm.weight": (768,),
        "norm.bias": (768,),
    }
    assert expected.items() <= shapes.items()
    assert network.norm.eps == 1e-6
    assert network.encoder.layer_norm.eps == 1e-5
