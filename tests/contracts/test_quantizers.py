"""Every law, over every quantizer that the catalog links: a new one is tested the moment it is listed."""

from importlib import import_module

import pytest

import survey
from impl.checks import LAWS
from impl.checks_parallel import check_data_parallel
from impl.quantizers.base import Quantizer


def linked() -> dict[str, type[Quantizer]]:
    """The quantizers that the catalog links, by id."""
    found = {}
    for work in survey.load().works:
        if work.implementation:
            module, name = work.implementation.split(":")
            implementation = getattr(import_module(module), name)
            if issubclass(implementation, Quantizer):
                found[work.id] = implementation
    return found


LINKED = linked()


def test_the_catalog_links_quantizers():
    assert {"vq-vae", "rvq", "pq", "fsq", "lfq", "bsq"} <= LINKED.keys()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("work", LINKED)
def test_law(work, law):
    quantizer = LINKED[work]
    if law in quantizer.exempt_laws:
        assert quantizer.exempt_laws[law].strip(), f"{work} must say why it is exempt from {law}"
    else:
        LAWS[law](quantizer)


@pytest.mark.parametrize("work", LINKED)
def test_exempt_laws_exist(work):
    assert LINKED[work].exempt_laws.keys() <= LAWS.keys()


def test_two_processes_train_as_one():
    check_data_parallel([quantizer for quantizer in LINKED.values()])


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_picks_the_codes_of_the_cpu(work):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny = LINKED[work].tiny().eval()
    latents = torch.randn(256, tiny.dim)
    codes = tiny.encode(latents)
    assert (tiny.cuda().encode(latents.cuda()).cpu() == codes).float().mean() > 0.99
