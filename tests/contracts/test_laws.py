"""Every law of every contract, over all that the catalog links: a new system is tested the moment it is listed."""

import pytest

from impl.checks import LAWS
from impl.checks_entities import ENTITY_LAWS
from impl.checks_nodes import NODE_LAWS
from impl.checks_tokenizers import TOKENIZER_LAWS
from impl.laws import LawError
from impl.links import linked
from impl.quantizers.base import Quantizer
from impl.quantizers.entities import EntityQuantizer
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.graph.nodes import NodeTokenizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder

CONTRACTS = {
    Quantizer: LAWS,
    EntityQuantizer: ENTITY_LAWS,
    Tokenizer: TOKENIZER_LAWS,
    NodeTokenizer: NODE_LAWS,
}
#: Of each contract the classes by name; the autoencoder is that in which quantizers are compared, and no work's.
CLASSES = {contract: linked(contract) for contract in CONTRACTS}
CLASSES[Tokenizer]["image-autoencoder"] = ImageAutoencoder


CASES = [
    pytest.param(laws, cls, name, id=f"{work}-{name}")
    for contract, laws in CONTRACTS.items()
    for work, cls in CLASSES[contract].items()
    for name in laws
]


@pytest.mark.parametrize("laws, cls, name", CASES)
def test_law(laws, cls, name):
    if name in cls.exempt_laws:
        assert cls.exempt_laws[name].strip(), f"{cls.__name__} must say why it is exempt from {name}"
    else:
        laws[name](cls)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_class_is_exempt_only_from_laws_that_exist(contract):
    for cls in CLASSES[contract].values():
        assert cls.exempt_laws.keys() <= CONTRACTS[contract].keys(), cls


@pytest.mark.parametrize("contract", CONTRACTS)
def test_an_unknown_exemption_is_refused(contract):
    cls = next(iter(CLASSES[contract].values()))
    exempt = dict.fromkeys(["gravity", *CONTRACTS[contract]], "none")
    with pytest.raises(LawError, match="unknown exempt law gravity"):
        CONTRACTS[contract].check(type("Wrong", (cls,), {"exempt_laws": exempt}))


@pytest.mark.parametrize(
    "contract, works",
    [
        (Quantizer, {"vq-vae", "rvq", "pq", "fsq", "lfq", "bsq"}),
        (EntityQuantizer, {"nodepiece", "earl", "random-entity-quantization"}),
        (Tokenizer, {"vqgan", "encodec", "magvit-v2"}),
        (NodeTokenizer, {"vqgraph"}),
    ],
)
def test_the_catalog_links(contract, works):
    assert works <= CLASSES[contract].keys()
