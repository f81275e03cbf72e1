"""What an encoder is called in a configuration: ``<encoder>[+<variant>]...``, one folder of features each.

``uni`` is the encoder as published; ``gigapath+resize`` sets one of its own variants; ``uni+macenko`` normalises the
stain first, ``uni+dihedral`` averages over the eight symmetries of a tile, ``uni+views`` keeps all eight, and
``uni+around`` looks at the 5 x 5 patches around it. Variants stand in one order: the encoder's own, the stain, the
symmetries, the patches. Of a slide encoder, what is not its own is its tile encoder's: ``gigapath_slide+macenko`` reads
the features of ``gigapath+macenko``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from stflow.encoders import ENCODERS
from stflow.encoders.around import AROUND
from stflow.encoders.base import Encoder
from stflow.encoders.views import VIEWS
from stflow.errors import RegistryError

#: Variants of every encoder of tiles.
STAINS = ("macenko", "reinhard")
DIHEDRAL = "dihedral"
#: Variants that look at the eight symmetries of a tile: their mean, or all of them.
SYMMETRIES = (DIHEDRAL, VIEWS)


@dataclass(frozen=True, slots=True)
class EncoderName:
    """An encoder and what was added to it.

    Attributes
    ----------
    text
        As it is written, and as its folder is called.
    encoder
        Name in the registry.
    own
        Variants of the encoder itself.
    stain
        ``macenko``, ``reinhard`` or empty.
    symmetries
        ``dihedral``: features are averaged over the symmetries; ``views``: all eight stand one after the other; or
        empty.
    around
        Whether it looks at the patches around a tile.
    tiles
        For a slide encoder the name of the encoder whose features it reads; else empty.
    """

    text: str
    encoder: str
    own: tuple[str, ...]
    stain: str
    symmetries: str
    around: bool
    tiles: str

    @property
    def kind(self) -> type[Encoder]:
        """The encoder's class."""
        kind: type[Encoder] = ENCODERS.get(self.encoder)
        return kind

    @classmethod
    def parse(cls, text: str) -> EncoderName:
        """Inverse of `text`.

        Raises
        ------
        RegistryError
            No such encoder or variant, a variant twice, or in another order than the one there is.
        """
        encoder, *variants = text.split("+")
        kind: type[Encoder] = ENCODERS.get(encoder)
        own = [name for name in variants if name in kind.variants]
        rest = [name for name in variants if name not in kind.variants]
        if kind.tile_encoder:
            tiles = cls.parse("+".join([kind.tile_encoder, *rest])).text
            stain, symmetries, order = "", "", [*own, *rest]
            for name, what in ((VIEWS, "eight views"), (AROUND, "those of 25 patches")):
                if name in rest:
                    raise RegistryError(f"encoders: {text!r}: a slide encoder gives one feature a tile, not {what}.")
        else:
            tiles = ""
            known = (*kind.variants, *STAINS, *SYMMETRIES, AROUND)
            for name in rest:
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1)
                    hint = f" Did you mean {near[0]!r}?" if near else ""
                    raise RegistryError(
                        f"encoders: {text!r}: {encoder} has no variant {name!r}; there are {', '.join(known)}.{hint}"
                    )
            chosen = [[name for name in rest if name in names] for names in (STAINS, SYMMETRIES, (AROUND,))]
            for names in (*chosen, [name for name in rest if name in (VIEWS, AROUND)]):
                if len(set(names)) > 1:
                    raise RegistryError(f"encoders: {text!r}: {' and '.join(names)} exclude each other. Choose one.")
            stain, symmetries = (names[0] if names else "" for names in chosen[:2])
            order = [name for names in (own, *chosen) for name in names]
        canonical = "+".join([encoder, *dict.fromkeys(order)])
        if text != canonical:
            raise RegistryError(f"encoders: write {text!r} as {canonical!r}, so that its features have one place.")
        return cls(text, encoder, tuple(own), stain, symmetries, AROUND in order, tiles)
