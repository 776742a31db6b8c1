"""CVQ-VAE: the update written again by hand, its limits, anchors that follow the softmax, the claim."""

import math

import pytest
import torch
import torch.nn.functional as F

from impl.benches import digits_autoencoder
from impl.quantizers.cvq_vae import CVQ, OnlineClustering
from impl.quantizers.vq_vae import VectorQuantizer


def test_a_code_in_use_stays_and_a_dead_one_is_replaced():
    clustering = OnlineClustering(8, decay=0.99, anchor="closest")
    clustering.usage.copy_(torch.tensor([1 / 8] * 7 + [0.0]))
    blend = clustering.blend()
    assert (blend[:7] == 0).all() and blend[7] == pytest.approx(math.exp(-1e-3))


def test_two_steps_by_hand():
    torch.manual_seed(0)
    quantizer = CVQ(3, 6, decay=0.5, anchor="closest").train()
    table, usage = quantizer.codebook.detach().clone(), torch.zeros(6)
    for _ in range(2):
        latents = torch.randn(40, 3)
        similarity = F.cosine_similarity(latents[:, None], table[None], dim=-1)
        shares = similarity.argmax(dim=1).bincount(minlength=6) / 40
        usage = 0.5 * usage + 0.5 * shares
        weight = torch.exp(-usage * 6 * 10 / 0.5 - 1e-3)[:, None]
        anchors = latents[similarity.argmax(dim=0)]
        table = (1 - weight) * table + weight * anchors
        quantizer(latents)
        torch.testing.assert_close(quantizer.codebook.detach(), table)
        torch.testing.assert_close(quantizer.clustering.usage, usage)


def test_anchors_are_drawn_by_softmax_over_the_batch():
    """Not over the codes: the draw of one code does not depend on the others."""
    torch.manual_seed(0)
    vectors, code = torch.randn(5, 4), torch.randn(1, 4)
    clustering = OnlineClustering(20000, decay=0.9, anchor="random")
    moved = clustering.step(
        code.expand(20000, 4), torch.zeros(20000).index_fill_(0, torch.tensor([0]), 5.0), vectors
    )
    drawn = torch.cdist((moved[1:] - code * (1 - math.exp(-1e-3))) / math.exp(-1e-3), vectors).argmin(dim=1)
    expected = torch.softmax(F.cosine_similarity(vectors, code), dim=0) * len(drawn)
    statistic = ((drawn.bincount(minlength=5) - expected).square() / expected).sum()
    assert statistic < 18.5  # chi-square with 4 degrees of freedom: 0.1 %


def test_a_replaced_code_lies_at_a_vector_of_the_batch():
    torch.manual_seed(0)
    quantizer, latents = CVQ(4, 256).train(), torch.randn(32, 4)
    codes = quantizer(latents).codes
    dead = torch.ones(256, dtype=torch.bool).index_fill_(0, codes.unique(), False)
    distances = torch.cdist(quantizer.codebook[dead], latents).min(dim=1).values
    assert distances.max() < 2e-3 * latents.norm(dim=1).max()


def test_evaluation_moves_nothing():
    torch.manual_seed(0)
    quantizer = CVQ(4, 16).eval()
    before = quantizer.codebook.clone()
    quantizer(torch.randn(50, 4))
    assert torch.equal(quantizer.codebook, before)


@pytest.mark.parametrize("options", [{"anchor": "nearest"}, {"decay": 1.0}])
def test_illegal_options_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        CVQ(4, 8, **options)


@pytest.mark.claim
def test_revives_the_codebook():
    """512 codes: most in use where plain VQ keeps a tenth, at a fifth less error."""
    for seed in range(3):
        clustered = digits_autoencoder(lambda: CVQ(8, 512), seed=seed)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 512), seed=seed)
        assert clustered.usage > 0.5 and plain.usage < 0.1
        assert clustered.error < 0.8 * plain.error
