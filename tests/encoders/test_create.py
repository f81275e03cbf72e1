"""A name gives the encoder that it says: its own variants inside, the stain around them, the symmetries outermost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stflow.encoders.create import create
from stflow.encoders.dihedral import Dihedral
from stflow.encoders.stain import Macenko, Reinhard
from stflow.errors import RegistryError, ResourceError


def test_variants_stand_around_each_other_in_order(corners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corners, "variants", {"eleven": {"dim": 11, "transform": "eleven"}})
    model = create("corners+eleven+reinhard+dihedral")
    assert isinstance(model, Dihedral)
    assert isinstance(model.inner, Reinhard)
    assert isinstance(model.inner.inner, corners)
    assert (model.dim, model.inner.dim, create("corners").dim) == (11, 11, 10)
    assert model.transform.startswith("Reinhard stain normalisation, one estimate a slide; eleven; features averaged")
    assert isinstance(create("corners+macenko"), Macenko)


def test_weights_device_and_precision_reach_the_encoder(corners: Any, tmp_path: Path) -> None:
    model = create("corners+dihedral", "auto", "bf16", tmp_path / "w.bin")
    assert isinstance(model, Dihedral)
    for one in (model, model.inner):
        assert (one.device, one.precision, one.weights_path) == ("cpu", "bf16", tmp_path / "w.bin")


def test_an_encoder_without_torch_is_on_the_cpu_whatever_is_asked_for() -> None:
    assert create("classical", "cuda").device == "cpu"


def test_names_and_precisions_that_there_are_not() -> None:
    with pytest.raises(RegistryError, match=r"write 'classical\+dihedral\+macenko' as 'classical\+macenko\+dihedral'"):
        create("classical+dihedral+macenko")
    with pytest.raises(ResourceError, match="no precision 'fp8'; choose fp32, bf16, fp16"):
        create("classical", precision="fp8")


def test_the_size_of_a_cpus_batch_is_passed_through(corners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert create("corners+dihedral").cpu_batch is None  # type: ignore[attr-defined]
    monkeypatch.setattr(corners, "cpu_batch", 4, raising=False)
    assert create("corners+reinhard+dihedral").cpu_batch == 4  # type: ignore[attr-defined]
