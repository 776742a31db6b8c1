"""The laws of tokenizers find what is broken; a GPU encodes as a CPU does."""

import pytest
import torch

from impl.checks_tokenizers import check_tokenizer
from impl.laws import LawError
from impl.links import linked
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder

LINKED = linked(Tokenizer)


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


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_gives_the_codes_of_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny, samples = LINKED[work].tiny().eval(), LINKED[work].example(count=4)
    codes = tiny.encode(samples)
    assert (tiny.cuda().encode(samples.cuda()).cpu() == codes).float().mean() > 0.95
