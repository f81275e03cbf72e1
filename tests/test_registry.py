"""Names are unique, and an unknown one is answered with the nearest."""

import pytest

from stflow.encoders import ENCODERS
from stflow.errors import RegistryError
from stflow.models import METHODS
from stflow.models.base import Method
from stflow.registry import Registry


def test_a_second_owner_of_a_name_is_refused() -> None:
    registry: Registry = Registry("methods", {"ridge": "stflow.models.ridge:Ridge"})
    with pytest.raises(RegistryError, match="'ridge' is already registered"):
        registry.register("ridge")(object)
    registry.register("mine")(object)
    with pytest.raises(RegistryError, match="'mine' is already registered"):
        registry.register("mine")(object)
    assert registry.get("mine") is object


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"no 'random_forrest'.*Did you mean 'random_forest'"):
        METHODS.get("random_forrest")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_describes_itself(name: str) -> None:
    method = METHODS.get(name)
    assert issubclass(method, Method)
    assert method.name == name
    assert (method.__doc__ or "").strip()
    for field, info in method.Settings.model_fields.items():
        assert info.description, f"{name}.{field} has no description"


@pytest.mark.parametrize("name", ENCODERS.names())
def test_every_encoder_describes_itself(name: str) -> None:
    encoder = ENCODERS.get(name)
    assert encoder.name == name
    assert encoder.dim > 0
    assert encoder.transform
    assert encoder.licence
