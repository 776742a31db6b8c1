"""The laws of node tokenizers find what is broken; a GPU encodes as a CPU does."""

import pytest
import torch

from impl.checks_nodes import check_node_tokenizer
from impl.laws import LawError
from impl.links import linked
from impl.tokenizers.graph.nodes import NodeTokenizer
from impl.tokenizers.graph.vqgraph import VQGraph

LINKED = linked(NodeTokenizer)


class Named(VQGraph):
    """Knows its nodes by number, and has a parameter that nothing trains."""

    def __init__(self, **numbers):
        super().__init__(**numbers)
        self.forgotten = torch.nn.Parameter(torch.zeros(1))

    def latents(self, features, edges):
        return super().latents(features, edges) + torch.arange(len(features))[:, None]


def test_the_laws_find_what_is_broken():
    with pytest.raises(LawError) as raised:
        check_node_tokenizer(Named)
    assert "names of nodes change latents" in str(raised.value)
    assert "no gradient reaches forgotten" in str(raised.value)


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_encodes_as_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny, graph = LINKED[work].tiny().eval(), LINKED[work].example()
    codes = tiny.encode(graph.features, graph.edges)
    found = tiny.cuda().encode(graph.features.cuda(), graph.edges.cuda())
    assert (found.cpu() == codes).float().mean() > 0.99
