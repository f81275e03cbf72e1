"""DINOv2 as published in the layout of the transformers library, read into timm's network.

Oquab et al., TMLR 2024. The names in such a file are those of transformers before its version 5, which has since
renamed its modules; the files have not changed, so they are read by their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.vit import ViTEncoder, square_side

if TYPE_CHECKING:
    import torch

#: Beginning of a tensor's name, within its block: the file's and the network's.
_IN_BLOCK = {
    "norm1.": "norm1.",
    "attention.output.dense.": "attn.proj.",
    "layer_scale1.lambda1": "ls1.gamma",
    "norm2.": "norm2.",
    "mlp.fc1.": "mlp.fc1.",
    "mlp.fc2.": "mlp.fc2.",
    "mlp.weights_in.": "mlp.fc1.",
    "mlp.weights_out.": "mlp.fc2.",
    "layer_scale2.lambda1": "ls2.gamma",
}
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "layernorm.": "norm.",
}
_BLOCK, _POSITIONS = "encoder.layer.", "embeddings.position_embeddings"
_QKV = tuple(f"attention.attention.{name}." for name in ("query", "key", "value"))
#: Stands in for hidden patches during training.
_UNUSED = "embeddings.mask_token"


class DINOv2Encoder(ViTEncoder):
    """A vision transformer whose file has transformers' layout of DINOv2.

    Such files give the class token a position and the registers none. Here its position is added to the token once,
    when it is read, which is the same sum.
    """

    patches_alone_have_positions: ClassVar[bool] = True
    #: Whether positions are smoothed when they are resampled to a smaller grid: the published code does with registers.
    antialias: ClassVar[bool] = False

    @classmethod
    def convert(cls, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The file's tensors under timm's names; a name that is no name of such a file is refused as unexpected."""
        import torch

        made: dict[str, torch.Tensor] = {}
        for name, value in state.items():
            if name in (_POSITIONS, _UNUSED):
                continue
            if not name.startswith(_BLOCK):
                made[_renamed(name, _OUTSIDE)] = value
                continue
            number, _, rest = name.removeprefix(_BLOCK).partition(".")
            block = f"blocks.{number}."
            if rest.startswith(_QKV[1:]):
                continue  # read with the query
            if rest.startswith(_QKV[0]):
                kind = rest.removeprefix(_QKV[0])
                parts = [state.get(f"{_BLOCK}{number}.{part}{kind}") for part in _QKV]
                if any(part is None or part.shape[1:] != value.shape[1:] for part in parts):
                    made[name] = value  # no such tensor in the network: it is told as unexpected
                else:
                    made[f"{block}attn.qkv.{kind}"] = torch.cat([part for part in parts if part is not None])
                continue
            made[block + _renamed(rest, _IN_BLOCK)] = value
        if _POSITIONS in state and "cls_token" in made:
            cls._place(made, state[_POSITIONS])
        return made

    @classmethod
    def _place(cls, made: dict[str, torch.Tensor], positions: torch.Tensor) -> None:
        """Add the class token's position to it, and bring the patches' to the grid of this input.

        A file may have been made for a larger input: transformers then resamples the positions bicubically at every
        call; here it is done once.
        """
        from torch.nn.functional import interpolate

        side = cls.input_px // cls.patch_px
        old = square_side(positions, cls.name, made["cls_token"].shape[-1])
        made["cls_token"] = made["cls_token"].float() + positions[:, :1].float()
        grid = positions[:, 1:].float()
        if old != side:
            grid = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
            grid = interpolate(grid, size=(side, side), mode="bicubic", antialias=cls.antialias)
            grid = grid.permute(0, 2, 3, 1).reshape(1, side * side, -1)
        made["pos_embed"] = grid


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return f"{name} (unknown)"  # as it is, it could be one of timm's own names: a file of another layout
