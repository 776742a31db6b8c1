"""Every law of tokenizers, over every one that the catalog links and the shared ones."""

from importlib import import_module

import pytest
import torch

import survey
from impl.checks_tokenizers import TOKENIZER_LAWS, check_tokenizer
from impl.laws import LawError
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder


def linked() -> dict[str, type[Tokenizer]]:
    """The tokenizers that the catalog links, by id, and the autoencoder that quantizers are compared in."""
    found = {"image-autoencoder": ImageAutoencoder}
    for work in survey.load().works:
        if work.implementation:
            module, name = work.implementation.split(":")
            implementation = getattr(import_module(module), name)
            if issubclass(implementation, Tokenizer):
                found[work.id] = implementation
    return found


LINKED = linked()


@pytest.mark.parametrize("law", TOKENIZER_LAWS)
@pytest.mark.parametrize("work", LINKED)
def test_law(work, law):
    tokenizer = LINKED[work]
    if law in tokenizer.exempt_laws:
        assert tokenizer.exempt_laws[law].strip(), f"{work} must say why it is exempt from {law}"
    else:
        TOKENIZER_LAWS[law](tokenizer)


@pytest.mark.parametrize("work", LINKED)
def test_exempt_laws_exist(work):
    assert LINKED[work].exempt_laws.keys() <= TOKENIZER_LAWS.keys()


class Stale(ImageAutoencoder):
    """Its decoder is trained on codewords that `decode` does not give, and one parameter is trained by nothing."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.forgotten = torch.nn.Parameter(torch.zeros(1))

    def decode(self, codes):
        return super().decode(codes) + 0.01


def test_the_laws_find_what_is_broken():
    with pytest.raises(LawError, match=r"Stale breaks 2 law\(s\)") as raised:
        check_tokenizer(Stale)
    assert "decode_inverts_encode" in str(raised.value)
    assert "no gradient reaches forgotten" in str(raised.value)


def test_an_unknown_exemption_is_refused():
    wrong = type("Wrong", (ImageAutoencoder,), {"exempt_laws": {"gravity": "none"}})
    with pytest.raises(LawError, match="unknown exempt law gravity"):
        check_tokenizer(wrong)


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_gives_the_codes_of_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny, samples = LINKED[work].tiny().eval(), LINKED[work].example(count=4)
    codes = tiny.encode(samples)
    assert (tiny.cuda().encode(samples.cuda()).cpu() == codes).float().mean() > 0.95
