"""The benches: repeatable, scored on held-out data, in units that have known ends."""

import pytest
import torch

from impl.benches import (
    digits_autoencoder,
    digits_features,
    drift,
    mixture,
    normalised_error,
    title_accuracy,
    turning,
)
from impl.quantizers.fsq import FSQ
from impl.quantizers.vq_vae import VectorQuantizer


def test_a_run_is_a_function_of_its_seed():
    first, again, other = (digits_autoencoder(lambda: FSQ([4, 4, 4]), steps=20, seed=s) for s in (0, 0, 1))
    assert first == again != other
    assert first.bits == 4 * 6 and 0 < first.usage <= 1 <= first.perplexity <= 64


def test_training_helps():
    short, long = (digits_autoencoder(lambda: FSQ([4, 4, 4]), steps=steps).error for steps in (5, 200))
    assert long < 0.7 * short


def test_the_error_is_a_share_of_the_spread():
    """One codeword is the mean: all of the spread is left, and with as many as vectors nothing is."""
    vectors = torch.randn(64, 4)
    assert normalised_error(VectorQuantizer(4, 1), vectors, vectors) == pytest.approx(1)
    assert normalised_error(VectorQuantizer(4, 64), vectors, vectors) == pytest.approx(0, abs=1e-6)


def test_the_mixture_is_fixed_and_its_splits_share_their_centres():
    train, test = mixture("train"), mixture("test")
    assert train.shape == (10_000, 32) and test.shape == (2_000, 32)
    assert torch.equal(train, mixture("train")) and not torch.equal(train[:2_000], test)
    # 50 centres of variance 2, noise of variance 0.49 * 2: about two thirds of the variance is between clusters.
    assert normalised_error(VectorQuantizer(32, 50), train, test) < 0.5
    with pytest.raises(ValueError, match="split must be"):
        mixture("validation")


def test_features_come_from_a_trained_encoder():
    features = digits_features(dim=8, steps=20)
    assert features.shape == (4 * 1400, 8) and not features.requires_grad
    assert torch.equal(features, digits_features(dim=8, steps=20))
    assert not torch.equal(features, digits_features(dim=8, steps=21))


def test_drift_is_the_mixture_moved_ever_further():
    batches = drift(3)
    assert [len(batch) for batch in batches] == [1000] * 3
    moved = torch.cat(batches) - mixture("train")[:3000]
    step = moved[1000]
    torch.testing.assert_close(
        moved, torch.arange(3.0).repeat_interleave(1000)[:, None] * step, atol=1e-5, rtol=0
    )
    assert torch.equal(drift(2, speed=0)[1], mixture("train")[1000:2000])
    with pytest.raises(ValueError, match="batches must be from 1 to 10, got 11"):
        drift(11)


def test_turning_keeps_lengths_and_turns_by_the_same_map_each_batch():
    batches, plain = turning(3), mixture("train").split(1000)
    assert torch.equal(batches[0], plain[0])
    torch.testing.assert_close(batches[2].norm(dim=1), plain[2].norm(dim=1), rtol=1e-4, atol=1e-4)
    once, twice = (torch.linalg.lstsq(plain[index], batches[index]).solution for index in (1, 2))
    torch.testing.assert_close(once @ once, twice, rtol=0, atol=1e-4)
    fastest = torch.linalg.eigvals(once).angle().abs().max() * 180 / torch.pi
    assert 8 < fastest < 10
    with pytest.raises(ValueError, match="batches must be from 1 to 10"):
        turning(11)


def test_titles_are_classified_through_a_table_or_what_it_exports():
    class Constant(torch.nn.Embedding):
        def __init__(self, words):
            super().__init__(words, 32)

        def export(self):
            return torch.nn.Embedding.from_pretrained(torch.zeros(self.num_embeddings, 32))

    table = title_accuracy(lambda words: torch.nn.Embedding(words, 32))
    assert table == title_accuracy(lambda words: torch.nn.Embedding(words, 32))
    # With nothing to tell them apart all titles of a fold get one class; none has more than half of them.
    assert title_accuracy(Constant) < 0.55 < 0.65 < table
