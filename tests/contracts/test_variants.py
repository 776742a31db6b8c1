"""The laws over the options of the composed quantizers that `tiny()` does not show."""

from functools import partial

import pytest

from impl.checks import LAWS
from impl.checks_parallel import check_data_parallel
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vq_vae import VectorQuantizer


def variant(base, name, *sizes, exempt=None, **options):
    """A subclass whose `tiny` has other options."""
    tiny = classmethod(lambda cls, dim=8: partial(cls, dim)(*sizes, **options))
    return type(name, (base,), {"tiny": tiny, "exempt_laws": exempt or {}, "__module__": __name__})


LossVQ = variant(VectorQuantizer, "LossVQ", 16)
LossVQWithRevival = variant(
    VectorQuantizer, "LossVQWithRevival", 16, revival_threshold=0.5, initialization="kmeans"
)
LossRVQ = variant(ResidualVQ, "LossRVQ", 8, 3)
SharedRVQ = variant(
    ResidualVQ,
    "SharedRVQ",
    8,
    3,
    shared=True,
    update="ema",
    initialization="kmeans",
    exempt={"fit_reduces_the_error": "fit refuses a shared codebook"},
)
SharedLossRVQ = variant(ResidualVQ, "SharedLossRVQ", 8, 3, shared=True, exempt=SharedRVQ.exempt_laws)
DropoutRVQ = variant(
    ResidualVQ,
    "DropoutRVQ",
    8,
    3,
    quantizer_dropout=True,
    update="ema",
    revival_threshold=0.5,
    exempt={"compiles_without_breaks": "the number of stages is drawn anew each batch"},
)
LossPQ = variant(ProductQuantizer, "LossPQ", 8, 2)
VARIANTS = [LossVQ, LossVQWithRevival, LossRVQ, SharedRVQ, SharedLossRVQ, DropoutRVQ, LossPQ]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("quantizer", VARIANTS, ids=lambda quantizer: quantizer.__name__)
def test_law(quantizer, law):
    if law in quantizer.exempt_laws:
        assert quantizer.exempt_laws[law]
    else:
        LAWS[law](quantizer)


def test_two_processes_train_as_one():
    check_data_parallel(VARIANTS)
