"""Are the arrays of a model file those that a method's ``state`` writes? A file may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stflow.errors import IntegrityError


def require_arrays(state: Mapping[str, np.ndarray], forms: Mapping[str, str], **sizes: int) -> dict[str, int]:
    """Check names, shapes and types of floating-point arrays.

    Parameters
    ----------
    state
        Arrays by name.
    forms
        The letters of each array's shape, as in ``{"axes": "KD", "scale": "D"}``; a letter is one size everywhere.
    sizes
        Letters whose size is known.

    Returns
    -------
    dict
        Every letter's size.

    Raises
    ------
    ValueError
        Arrays that are missing, more than there should be, or of another shape or type.
    """
    if state.keys() != forms.keys():
        raise ValueError(f"it holds {', '.join(sorted(state)) or 'nothing'}, not {', '.join(sorted(forms))}")
    found = dict(sizes)
    for name, form in forms.items():
        array = state[name]
        expected = tuple(found.get(letter, -1) for letter in form)
        if array.dtype.kind != "f" or array.ndim != len(form):
            raise ValueError(f"{name} is {array.shape} {array.dtype}, not {len(form)}-dimensional and floating")
        for letter, size in zip(form, array.shape, strict=True):
            if found.setdefault(letter, size) != size:
                raise ValueError(f"{name} is {array.shape}, not {expected}")
    return found


def require_width(found: int, expected: int, slide: str, encoder: str) -> None:
    """Check that a slide has as many features as a model was trained on.

    Raises
    ------
    IntegrityError
        It has not.
    """
    if found != expected:
        raise IntegrityError(
            f"slide {slide} has {found} features of {encoder}, the model was trained on {expected}. They were made by "
            "another version of the encoder: run `embed` and `train` again."
        )
