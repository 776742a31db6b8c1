"""What the laws of one process cannot show, over every quantizer that the catalog links."""

import pytest
import torch

from impl.checks_parallel import check_data_parallel
from impl.links import linked
from impl.quantizers.base import Quantizer

LINKED = linked(Quantizer)


def test_two_processes_train_as_one():
    check_data_parallel(list(LINKED.values()))


@pytest.mark.gpu
@pytest.mark.parametrize("work", LINKED)
def test_a_gpu_picks_the_codes_of_the_cpu(work):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tiny = LINKED[work].tiny().eval()
    latents = torch.randn(256, tiny.dim)
    codes = tiny.encode(latents)
    assert (tiny.cuda().encode(latents.cuda()).cpu() == codes).float().mean() > 0.99
