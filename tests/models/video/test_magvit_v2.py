"""MAGVIT-v2's generator: hidden codes are what is learned, groups of bits join again, a given frame stays."""

import copy

import pytest
import torch
import torch.nn.functional as F

from impl.data.video import moving_digits
from impl.models.video.magvit_v2 import MaskedVideoModel
from impl.tokenizers.video.magvit_v2 import MAGVITv2
from impl.training import train


@pytest.fixture(scope="module")
def model():
    return MaskedVideoModel.tiny().eval()


def batch(count=4):
    moving = moving_digits("test")
    return moving.videos[:count], moving.digits[:count]


def test_the_loss_by_hand_at_hidden_places_alone(model):
    videos, classes = batch()
    torch.manual_seed(2)
    output = model((videos, classes))
    codes = model.tokenizer.encode(videos).flatten(1)
    assert (output.hidden.sum(dim=1) >= 1).all()
    total = 0.0
    for logits, column in zip(output.logits, (codes % 16, codes // 16), strict=True):
        total += F.nll_loss(logits.log_softmax(dim=-1)[output.hidden], column[output.hidden])
    torch.testing.assert_close(output.losses["cross_entropy"], total)


def test_the_logits_of_the_groups_are_a_distribution_over_codes(model):
    videos, classes = batch(1)
    low, high = (logits.softmax(dim=-1) for logits in model((videos, classes)).logits)
    joint = high[..., :, None] * low[..., None, :]
    assert joint.flatten(-2).shape[-1] == 2**8
    torch.testing.assert_close(joint.sum(dim=(-1, -2)), torch.ones(1, 48))


def test_generation_gives_legal_codes_and_keeps_a_first_frame(model):
    videos, classes = batch()
    codes = model.generate(classes, steps=4)
    assert codes.shape == (4, 3, 4, 4, 1) and codes.min() >= 0 and codes.max() < 2**8
    assert torch.equal(codes, model.generate(classes, steps=4))
    assert not torch.equal(codes, model.generate(classes, steps=4, seed=1))
    first = model.tokenizer.encode(videos[:, :, :1])
    assert torch.equal(model.generate(classes, steps=4, first=first)[:, :1], first)


def test_a_sample_starts_with_the_image_as_the_tokenizer_gives_it_back(model):
    videos, classes = batch()
    sample = model.sample(classes, videos[:, :, 0], steps=4)
    alone = model.tokenizer(videos[:, :, :1]).reconstruction
    assert sample.shape == videos.shape
    torch.testing.assert_close(sample[:, :, :1], alone, rtol=1e-4, atol=1e-5)


def test_the_tokenizer_stays_frozen():
    model = MaskedVideoModel.tiny()
    before = copy.deepcopy(model.tokenizer.state_dict())
    train(model, list(zip(*batch(8), strict=True)), steps=2, batch_size=4, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.tokenizer.state_dict().items())


def test_groups_must_hold_all_bits():
    with pytest.raises(ValueError, match=r"widths must add up to the 8 bits of a code, got \(4, 5\)"):
        MaskedVideoModel(MAGVITv2.tiny(), (3, 4, 4), 10, (4, 5))
