"""From the catalog's links to the classes."""

import pytest

from impl.links import linked, resolve
from impl.quantizers.fsq import FSQ
from impl.quantizers.lfq import LFQ
from impl.tokenizers.base import Tokenizer


def test_a_link_is_a_module_and_a_class():
    assert resolve("impl.quantizers.fsq:FSQ") is FSQ
    with pytest.raises(AttributeError):
        resolve("impl.quantizers.fsq:GSQ")
    with pytest.raises(ModuleNotFoundError):
        resolve("impl.quantizers.gsq:FSQ")


def test_linked_classes_are_chosen_by_contract_and_query():
    assert linked(query="section:2.5") == {"fsq": FSQ}
    assert linked(query="section:2.6")["lfq"] is LFQ
    assert linked(Tokenizer, "section:2.5") == {}
    assert len(linked()) > 60
