"""Sets of laws: what is run, what is reported, and what counts as a refusal."""

import pytest
import torch

from impl.laws import LawError, Laws, demand_refusal, same_state

LAWS = Laws()


@LAWS.register
def has_a_name(cls):
    """It has a name."""
    assert cls.name


@LAWS.register
def is_small(cls):
    """Its size is below 10."""
    assert cls.size < 10


class Small:
    name, size, exempt_laws = "small", 3, {}


def test_laws_bear_the_names_of_their_functions():
    assert list(LAWS.items()) == [("has_a_name", has_a_name), ("is_small", is_small)]


def test_every_law_that_fails_is_named_with_its_reason():
    LAWS.check(Small)
    broken = type("Broken", (Small,), {"name": "", "size": "large"})
    with pytest.raises(LawError, match=r"Broken breaks 2 law\(s\)") as raised:
        LAWS.check(broken)
    assert "has_a_name: AssertionError" in str(raised.value)
    assert "is_small: TypeError" in str(raised.value)


def test_an_exempt_law_is_not_run():
    LAWS.check(type("Large", (Small,), {"size": 30, "exempt_laws": {"is_small": "it is large"}}))


def test_a_refusal_is_a_value_error_or_a_type_error():
    demand_refusal("letters", lambda: int("letters"))
    demand_refusal("a sum of unlike things", lambda: 1 + "one")
    with pytest.raises(LawError, match="a number was accepted"):
        demand_refusal("a number", lambda: int("1"))
    with pytest.raises(ZeroDivisionError):
        demand_refusal("a division", lambda: 1 / 0)


def test_states_are_the_same_to_the_bit():
    state = {"weight": torch.tensor([1.0, 2.0])}
    assert same_state(state, {"weight": torch.tensor([1.0, 2.0])})
    assert not same_state(state, {"weight": torch.tensor([1.0, 2.0000002])})
    assert not same_state(state, {**state, "bias": torch.zeros(1)})
