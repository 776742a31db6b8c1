"""LSQ++: the schedule, the noise, its degenerate case, its claim."""

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.data.images import digits, patch_vectors
from impl.quantizers.lsq import LocalSearchQuantizer
from impl.quantizers.lsq_plus_plus import RelaxedLocalSearchQuantizer


def data(rows=600, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_the_temperature_falls_from_one_to_zero():
    ours = RelaxedLocalSearchQuantizer(6, 8, 3)
    assert [ours.temperature(progress) for progress in (0, 0.75, 1)] == [1, 0.5, 0]


def test_noise_of_the_codebooks_has_the_stated_deviation():
    ours = RelaxedLocalSearchQuantizer(6, 2000, 3)
    codebooks = data(6000).view(3, 2000, 6) * torch.arange(1.0, 7)
    noise = ours.relaxed_codebooks(codebooks, 0.75, torch.Generator().manual_seed(0)) - codebooks
    torch.testing.assert_close(
        noise.flatten(0, 1).std(dim=0), torch.arange(1.0, 7) / 3 * 0.5, rtol=0.05, atol=0
    )
    assert torch.equal(ours.relaxed_vectors(data(), 0.75, torch.Generator()), data())


def test_noise_of_the_vectors_has_the_stated_deviation():
    ours = RelaxedLocalSearchQuantizer(6, 8, 3, relaxation="vectors")
    vectors = data(6000) * torch.arange(1.0, 7)
    noise = ours.relaxed_vectors(vectors, 0.75, torch.Generator().manual_seed(0)) - vectors
    torch.testing.assert_close(noise.std(dim=0), torch.arange(1.0, 7) * 0.5, rtol=0.05, atol=0)
    codebooks = data(24).view(3, 8, 6)
    assert torch.equal(ours.relaxed_codebooks(codebooks, 0.75, torch.Generator()), codebooks)


@pytest.mark.parametrize("relaxation", ["codebooks", "vectors"])
def test_at_temperature_zero_it_is_lsq_to_the_bit(monkeypatch, relaxation):
    monkeypatch.setattr(RelaxedLocalSearchQuantizer, "temperature", lambda self, progress: 0.0)
    cold = RelaxedLocalSearchQuantizer(6, 8, 3, relaxation=relaxation).fit(data(), iterations=5)
    assert torch.equal(cold.codebooks, LocalSearchQuantizer(6, 8, 3).fit(data(), iterations=5).codebooks)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match='relaxation must be "codebooks" or "vectors", got \'noise\''):
        RelaxedLocalSearchQuantizer(6, 8, 3, relaxation="noise")
    with pytest.raises(ValueError, match="power must be above 0, got 0"):
        RelaxedLocalSearchQuantizer(6, 8, 3, power=0)


def errors(load, books, rows=4000):
    """Held-out errors (3 seeds, 2) of LSQ and of LSQ++."""
    train, test = load("train")[:rows], load("test")
    makers = [LocalSearchQuantizer, RelaxedLocalSearchQuantizer]
    return torch.tensor(
        [
            [normalised_error(make(train.shape[1], 16, books), train, test, seed) for make in makers]
            for seed in range(3)
        ]
    )


@pytest.mark.claim
def test_relaxation_leaves_less_error_on_the_mixture():
    """Less held-out error than LSQ on every seed; in the mean at least 1 % at 16 bits and 4 % at 32 (measured:
    3 % and 9 %).
    """
    for books, share in ((4, 0.99), (8, 0.96)):
        plain, relaxed = errors(mixture, books).unbind(1)
        assert (relaxed < plain).all()
        assert relaxed.mean() < share * plain.mean()


@pytest.mark.claim
def test_on_digits_and_patches_it_is_a_tie_at_16_bits():
    """Mean of three seeds, within 1.5 % of LSQ (measured: 0.0 % and 0.6 % less): started from a
    product quantizer, plain LSQ is not stuck there.
    """
    for load in (
        lambda split: digits(split).flatten(1),
        lambda split: patch_vectors(split, remove_mean=True),
    ):
        plain, relaxed = errors(load, 4).unbind(1)
        assert relaxed.mean() == pytest.approx(float(plain.mean()), rel=0.015)
