"""Names of encoders with variants: one name a kind of features, and mistakes answered."""

import pytest

from stflow.encoders.names import EncoderName
from stflow.errors import RegistryError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("classical", ("classical", (), "", False, "")),
        ("classical+macenko+dihedral", ("classical", (), "macenko", True, "")),
        ("ciga+half+reinhard", ("ciga", ("half",), "reinhard", False, "")),
        ("gigapath_slide", ("gigapath_slide", (), "", False, "gigapath")),
        ("gigapath_slide+normed", ("gigapath_slide", ("normed",), "", False, "gigapath")),
        ("gigapath_slide+level0+resize", ("gigapath_slide", ("level0",), "", False, "gigapath+resize")),
        ("gigapath_slide+macenko+dihedral", ("gigapath_slide", (), "", False, "gigapath+macenko+dihedral")),
    ],
)
def test_names_are_read(text: str, parts: tuple) -> None:
    name = EncoderName.parse(text)
    assert (name.text, name.encoder, name.own, name.stain, name.dihedral, name.tiles) == (text, *parts)
    assert name.kind.name == name.encoder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unii", "no 'unii'.*Did you mean 'uni'"),
        (
            "uni+makenko",
            r"uni has no variant 'makenko'; there are macenko, reinhard, dihedral\. Did you mean 'macenko'",
        ),
        ("uni+macenko+reinhard", "macenko and reinhard exclude each other"),
        ("uni+dihedral+macenko", r"write 'uni\+dihedral\+macenko' as 'uni\+macenko\+dihedral'"),
        ("uni+dihedral+dihedral", r"write .* as 'uni\+dihedral'"),
        ("gigapath_slide+half", r"gigapath has no variant 'half'"),
        ("gigapath_slide+resize+normed", r"as 'gigapath_slide\+normed\+resize'"),
    ],
)
def test_mistakes_are_answered(text: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        EncoderName.parse(text)
