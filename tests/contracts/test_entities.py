"""The laws of entity quantizers find what is broken; a GPU embeds as a CPU does."""

import pytest
import torch

from impl.checks_entities import check_entity_quantizer
from impl.laws import LawError
from impl.links import linked
from impl.quantizers.entities import EntityQuantizer
from impl.quantizers.nodepiece import NodePiece

LINKED = linked(EntityQuantizer)


class Forgetful(NodePiece):
    """Draws its codes anew, at every pass, and lets unused columns speak."""

    def _decode(self, codes, weights):
        return super()._decode(codes, torch.ones_like(weights)) * torch.rand(())


def test_the_laws_find_what_is_broken():
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
