"""Names of encoders with variants: one name a kind of features, and mistakes answered."""

import pytest

from stflow.encoders.names import EncoderName
from stflow.errors import RegistryError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("classical", ("classical", (), "", "", "")),
        ("classical+macenko+dihedral", ("classical", (), "macenko", "dihedral", "")),
        ("ciga+reinhard+views", ("ciga", (), "reinhard", "views", "")),
        ("ciga+half+reinhard", ("ciga", ("half",), "reinhard", "", "")),
        ("gigapath_slide", ("gigapath_slide", (), "", "", "gigapath")),
        ("gigapath_slide+normed", ("gigapath_slide", ("normed",), "", "", "gigapath")),
        ("gigapath_slide+level0+resize", ("gigapath_slide", ("level0",), "", "", "gigapath+resize")),
        ("gigapath_slide+macenko+dihedral", ("gigapath_slide", (), "", "", "gigapath+macenko+dihedral")),
    ],
)
def test_names_are_read(text: str, parts: tuple) -> None:
    name = EncoderName.parse(text)
    assert (name.text, name.encoder, name.own, name.stain, name.symmetries, name.tiles) == (text, *parts)
    assert name.kind.name == name.encoder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unii", "no 'unii'.*Did you mean 'uni'"),
        (
            "uni+makenko",
            r"uni has no variant 'makenko'; there are macenko, reinhard, dihedral, views, around\. "
            r"Did you mean 'macenko'",
        ),
        ("uni+macenko+reinhard", "macenko and reinhard exclude each other"),
        ("uni+dihedral+macenko", r"write 'uni\+dihedral\+macenko' as 'uni\+macenko\+dihedral'"),
        ("uni+dihedral+dihedral", r"write .* as 'uni\+dihedral'"),
        ("uni+dihedral+views", "dihedral and views exclude each other"),
        ("gigapath_slide+views", "a slide encoder gives one feature a tile"),
        ("uni+views+around", "views and around exclude each other"),
        ("uni+around+macenko", r"write 'uni\+around\+macenko' as 'uni\+macenko\+around'"),
        ("gigapath_slide+around", "a slide encoder gives one feature a tile, not those of 25 patches"),
        ("gigapath_slide+half", r"gigapath has no variant 'half'"),
        ("gigapath_slide+resize+normed", r"as 'gigapath_slide\+normed\+resize'"),
    ],
)
def test_mistakes_are_answered(text: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        EncoderName.parse(text)


def test_patches_around_the_tile_come_last() -> None:
    name = EncoderName.parse("ciga+half+reinhard+dihedral+around")
    assert (name.own, name.stain, name.symmetries, name.around) == (("half",), "reinhard", "dihedral", True)
    assert not EncoderName.parse("ciga+half").around
