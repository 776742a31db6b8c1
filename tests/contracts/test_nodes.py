"""Every law of node tokenizers, over every one that the catalog links."""

from importlib import import_module

import pytest
import torch

import survey
from impl.checks_nodes import NODE_LAWS, check_node_tokenizer
from impl.laws import LawError
from impl.tokenizers.graph.nodes import NodeTokenizer
from impl.tokenizers.graph.vqgraph import VQGraph


def linked() -> dict[str, type[NodeTokenizer]]:
    """The node tokenizers that the catalog links, by id."""
    found = {}
    for work in survey.load().works:
        if work.implementation:
            module, name = work.implementation.split(":")
            implementation = getattr(import_module(module), name)
            if issubclass(implementation, NodeTokenizer):
                found[work.id] = implementation
    return found


LINKED = linked()


def test_the_catalog_links_node_tokenizers():
    assert LINKED["vqgraph"] is VQGraph


@pytest.mark.parametrize("law", NODE_LAWS)
@pytest.mark.parametrize("work", LINKED)
def test_law(work, law):
    tokenizer = LINKED[work]
    if law in tokenizer.exempt_laws:
        assert tokenizer.exempt_laws[law].strip(), f"{work} must say why it is exempt from {law}"
    else:
        NODE_LAWS[law](tokenizer)


@pytest.mark.parametrize("work", LINKED)
def test_exempt_laws_exist(work):
    assert LINKED[work].exempt_laws.keys() <= NODE_LAWS.keys()


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


def test_an_unknown_exemption_is_refused():
    wrong = type("Wrong", (VQGraph,), {"exempt_laws": {"gravity": "none"}})
    with pytest.raises(LawError, match="unknown exempt law gravity"):
        check_node_tokenizer(wrong)


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_encodes_as_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny, graph = LINKED[work].tiny().eval(), LINKED[work].example()
    codes = tiny.encode(graph.features, graph.edges)
    found = tiny.cuda().encode(graph.features.cuda(), graph.edges.cuda())
    assert (found.cpu() == codes).float().mean() > 0.99
