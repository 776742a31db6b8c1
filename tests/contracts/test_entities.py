"""Every law of entity quantizers, over every one that the catalog links."""

from importlib import import_module

import pytest
import torch

import survey
from impl.checks_entities import ENTITY_LAWS, check_entity_quantizer
from impl.quantizers.entities import EntityQuantizer
from impl.quantizers.nodepiece import NodePiece


def linked() -> dict[str, type[EntityQuantizer]]:
    """The entity quantizers that the catalog links, by id."""
    found = {}
    for work in survey.load().works:
        if work.implementation:
            module, name = work.implementation.split(":")
            implementation = getattr(import_module(module), name)
            if issubclass(implementation, EntityQuantizer):
                found[work.id] = implementation
    return found


LINKED = linked()


def test_the_catalog_links_entity_quantizers():
    assert {"nodepiece", "earl", "random-entity-quantization"} <= LINKED.keys()


@pytest.mark.parametrize("law", ENTITY_LAWS)
@pytest.mark.parametrize("work", LINKED)
def test_law(work, law):
    quantizer = LINKED[work]
    if law in quantizer.exempt_laws:
        assert quantizer.exempt_laws[law].strip(), f"{work} must say why it is exempt from {law}"
    else:
        ENTITY_LAWS[law](quantizer)


@pytest.mark.parametrize("work", LINKED)
def test_exempt_laws_exist(work):
    assert LINKED[work].exempt_laws.keys() <= ENTITY_LAWS.keys()


class Forgetful(NodePiece):
    """Draws its codes anew, at every pass, and lets unused columns speak."""

    def _decode(self, codes, weights):
        return super()._decode(codes, torch.ones_like(weights)) * torch.rand(())


def test_the_laws_find_what_is_broken():
    from impl.laws import LawError

    with pytest.raises(LawError, match="Forgetful breaks"):
        check_entity_quantizer(Forgetful)


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_embeds_as_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    tiny = LINKED[work].tiny().eval()
    entities, relations = tiny()
    found = tiny.cuda()()
    torch.testing.assert_close(found.entities.cpu(), entities, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.relations.cpu(), relations, rtol=1e-3, atol=1e-4)
