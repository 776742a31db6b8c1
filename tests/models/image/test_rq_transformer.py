"""RQ-Transformer: who sees whom, soft targets, and fewer nats than one long sequence of the same size."""

import pytest
import torch

from impl.models.image.rq_transformer import RQTransformer
from impl.tokenizers.image.rq_vae import RQVAE
from impl.training import train


@pytest.fixture(scope="module")
def model():
    return RQTransformer.tiny().eval()


def test_a_code_sees_earlier_positions_and_the_codes_above_it(model):
    codes = torch.randint(64, (2, 16, 4), generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([1, 2])
    before = model.logits(codes, classes)
    changed = codes.clone()
    changed[:, 6, 2] = (changed[:, 6, 2] + 1) % 64
    after = model.logits(changed, classes)
    moved = (before - after).abs().amax(dim=(0, 3)) > 1e-6
    assert not moved[:6].any()
    assert moved[6].tolist() == [False, False, False, True]
    assert moved[7:].any(dim=1).all()


def test_generation_meets_teacher_forcing(model):
    classes = torch.tensor([3, 4])
    codes = model.generate(classes, temperature=0)
    assert codes.shape == (2, 16, 4)
    assert torch.equal(model.logits(codes, classes).argmax(dim=-1), codes)
    assert model.sample(classes).shape == (2, 3, 16, 16)


def test_soft_targets_follow_the_distances(model):
    latents = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    codewords = model.tokenizer.quantizer.stage(0).codewords()
    model.temperature = 0.5
    codes, targets = model.soft_codes(latents)
    residual = latents
    for level in range(4):
        expected = (-(residual[..., None, :] - codewords).square().sum(dim=-1) / 0.5).softmax(dim=-1)
        torch.testing.assert_close(targets[..., level, :], expected, rtol=1e-3, atol=1e-5)
        residual = residual - codewords[codes[..., level]]
    model.temperature = 1e-6
    _, sharp = model.soft_codes(latents)
    model.temperature = 0.0
    codes, hard = model.soft_codes(latents)
    torch.testing.assert_close(sharp, hard)
    assert torch.equal(codes, model.tokenizer.quantizer.encode(latents))


def test_the_commitment_is_to_every_partial_sum():
    """Residual VQ's loss of each residual equals the paper's loss of the latent to each sum."""
    tokenizer = RQVAE(**RQVAE.SMALL).eval()
    latents = torch.randn(5, 16)
    output = tokenizer.quantizer(latents)
    words = tokenizer.quantizer.stage(0).codewords()[output.codes]
    sums = words.cumsum(dim=1)
    expected = (latents[:, None] - sums).square().mean()
    torch.testing.assert_close(output.losses["commitment"], 0.25 * expected)


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_error_falls_with_depth(digits_16, seed):
    """At the same 16 positions and the same 64 codewords."""
    data, (images, _) = digits_16
    pictures, errors = [image for image, _ in data], []
    for depth in (1, 2, 4):
        torch.manual_seed(seed)
        tokenizer = RQVAE(**{**RQVAE.SMALL, "num_codebooks": depth})
        options = {"batch_size": 32, "learning_rate": 2e-3, "seed": seed, "progress": False}
        train(tokenizer, pictures, steps=250, **options)
        with torch.no_grad():
            errors.append((tokenizer(images).reconstruction - images).square().mean().item())
    assert errors[0] > errors[1] > errors[2], errors


class Flat(RQTransformer):
    """The baseline: one causal transformer over all T D codes, of as many parameters."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer, (4, 4), 10, spatial_depth=4, code_depth=0)

    def logits(self, codes, classes):
        before = torch.cat([self.classes(classes)[:, None], self.embed(codes).flatten(1, 2)[:, :-1]], dim=1)
        places = (self.place[:, None] + self.level).flatten(0, 1)
        return self.head(self.spatial(before + places)).unflatten(1, codes.shape[1:])


@pytest.mark.long
@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_two_short_walks_beat_one_long(digits_16, seed):
    """At equal parameters and steps the codes cost at least 0.1 nats less than in one sequence of all codes."""
    data, held_out = digits_16
    torch.manual_seed(seed)
    tokenizer = RQVAE(**RQVAE.SMALL)
    train(
        tokenizer,
        [image for image, _ in data],
        steps=200,
        batch_size=32,
        learning_rate=2e-3,
        seed=seed,
        progress=False,
    )
    nats, sizes = [], []
    for make in (lambda: RQTransformer(tokenizer, (4, 4), 10), lambda: Flat(tokenizer)):
        torch.manual_seed(seed)
        model = make()
        train(model, data, steps=250, batch_size=32, learning_rate=2e-3, seed=seed, progress=False)
        with torch.no_grad():
            nats.append(model(held_out).losses["cross_entropy"].item())
        sizes.append(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
    assert sizes[0] == sizes[1]
    assert nats[0] < nats[1] - 0.1, nats
