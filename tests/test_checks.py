"""The laws accept a trivial quantizer that keeps the contract and refuse ones that break it in known ways."""

import pytest
import torch

from impl.checks import LAWS, check_quantizer
from impl.laws import LawError
from impl.quantizers.base import Quantized, Quantizer
from impl.quantizers.gradients import straight_through
from impl.quantizers.vq_vae import VectorQuantizer


class Rounding(Quantizer):
    """Each channel to the nearer of -1, 0 and 1: the least that keeps the contract."""

    exempt_laws = {"codebook_moves": "a fixed grid"}

    def __init__(self, dim):
        super().__init__()
        self.dim, self.codebook_sizes = dim, (3,) * dim

    @classmethod
    def tiny(cls, dim=8):
        return cls(dim)

    def _encode(self, vectors):
        return vectors.clamp(-1, 1).round().long() + 1

    def _decode(self, codes):
        return (codes - 1).float()

    def _quantize(self, vectors):
        codes = self._encode(vectors.detach())
        return Quantized(straight_through(vectors, self._decode(codes).to(vectors.dtype)), codes, {})


class RoundedStraightThrough(Rounding):
    """x + (q - x), which differs from q by a rounding error."""

    def _decode(self, codes):
        return super()._decode(codes) * 0.3

    def _quantize(self, vectors):
        codes = self._encode(vectors.detach())
        return Quantized(vectors + (self._decode(codes) - vectors).detach(), codes, {})


class NoGradient(Rounding):
    def _quantize(self, vectors):
        codes = self._encode(vectors.detach())
        return Quantized(self._decode(codes) + 0 * vectors, codes, {})


class BatchDependent(Rounding):
    def _encode(self, vectors):
        return super()._encode(vectors - vectors.mean(dim=0))


class NoChecks(Rounding):
    def _check_finite(self, vectors):
        pass

    def _check_codes(self, codes):
        pass


class LearnsInEvaluation(VectorQuantizer):
    def _encode(self, vectors):
        self.codebook.data += 0.1
        return super()._encode(vectors)

    def _quantize(self, vectors):
        self.learn(vectors.detach(), self._encode(vectors)[:, 0])
        return super()._quantize(vectors)


class ForgetsStatistics(VectorQuantizer):
    """The moving average is not part of the state, so a loaded checkpoint goes on differently."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.average._non_persistent_buffers_set = {"counts", "sums"}


class Frozen(VectorQuantizer):
    def learn(self, vectors, codes):
        pass


class UnboundedMean(Rounding):
    """A loss that is the mean of nothing for an empty batch."""

    def _quantize(self, vectors):
        return super()._quantize(vectors)._replace(losses={"commitment": vectors.square().mean()})


class GraphBreak(Rounding):
    def _quantize(self, vectors):
        torch._dynamo.graph_break()
        return super()._quantize(vectors)


def test_a_trivial_quantizer_keeps_every_law():
    check_quantizer(Rounding)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (RoundedStraightThrough, "decode_inverts_encode"),
        (NoGradient, "gradient_reaches_the_encoder"),
        (BatchDependent, "batch_shape_and_order_do_not_matter"),
        (NoChecks, "bad_input_is_refused"),
        (LearnsInEvaluation, "evaluation_changes_nothing"),
        (ForgetsStatistics, "state_survives_copies"),
        (Frozen, "codebook_moves"),
        (UnboundedMean, "empty_batch_is_exact"),
        (GraphBreak, "compiles_without_breaks"),
    ],
)
def test_a_law_refuses_what_breaks_it(broken, law):
    with pytest.raises(LawError, match=f"(?m)^{law}: "):
        check_quantizer(broken)


def test_an_unknown_exemption_is_refused():
    class Unknown(Rounding):
        exempt_laws = {"codebook_moves": "a fixed grid", "no_such_law": "because"}

    with pytest.raises(LawError, match="unknown exempt law no_such_law"):
        check_quantizer(Unknown)


def test_every_law_says_what_it_demands():
    assert all(law.__doc__ for law in LAWS.values())
