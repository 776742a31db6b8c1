"""VAR: what a scale is fed comes from the scales before it, one pass a scale, and the samples show their class."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl.models.image.var import VAR, Predicted
from impl.networks.transformers import Transformer
from impl.tokenizers.image.multi_scale import MultiScaleVQVAE
from impl.tokenizers.image.rq_vae import RQVAE
from impl.training import train


def test_a_scale_is_predicted_from_the_scales_before():
    model = VAR.tiny().eval()
    codes = torch.randint(64, (2, 30, 1), generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([1, 2])
    before = model.logits(codes, classes)
    for index, scale in enumerate(model.pyramid.scales):
        start, stop = model.pyramid.length(index), model.pyramid.length(index + 1)
        changed = codes.clone()
        changed[:, start:stop] = (changed[:, start:stop] + 7) % 64
        after = model.logits(changed, classes)
        torch.testing.assert_close(after[:, :stop], before[:, :stop])
        assert stop == 30 or not torch.allclose(after[:, stop:], before[:, stop:]), scale


def test_generation_meets_teacher_forcing():
    """Each scale's most probable codes, drawn with the cache, are those that the whole forward pass predicts."""
    model = VAR.tiny().eval()
    classes = torch.tensor([3, 4, 5])
    codes = model.generate(classes, temperature=0)
    assert codes.shape == (3, 30, 1)
    torch.testing.assert_close(model.logits(codes, classes).argmax(dim=-1), codes[..., 0])


def test_as_many_passes_as_scales(monkeypatch):
    model, passes = VAR.tiny().eval(), []
    forward = model.transformer.forward

    def counting(x, **options):
        passes.append(x.shape[1])
        return forward(x, **options)

    monkeypatch.setattr(model.transformer, "forward", counting)
    model.sample(torch.arange(4))
    assert passes == [1, 4, 9, 16]


def test_guidance_without_effect_of_the_class_changes_nothing():
    model = VAR.tiny().eval()
    with torch.no_grad():
        model.classes.weight[:] = model.classes.weight[0]
    classes = torch.tensor([3, 4, 5])
    assert torch.equal(model.generate(classes), model.generate(classes, guidance=4.0))


def test_the_tokenizer_stays_frozen(digits_16):
    model = VAR.tiny()
    before = {name: tensor.clone() for name, tensor in model.tokenizer.state_dict().items()}
    train(model, digits_16[0][:64], steps=2, batch_size=8, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.tokenizer.state_dict().items())


class Raster(nn.Module):
    """The baseline: the same transformer, one code after another in raster order, 16 passes an image."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.classes, self.embed = nn.Embedding(10, 64), nn.Embedding(64, 64)
        self.place = nn.Parameter(0.02 * torch.randn(16, 64))
        self.transformer = Transformer(64, 4, 4, causal=True, condition_dim=64)
        self.head = nn.Linear(64, 64)

    def logits(self, codes, classes):
        condition = self.classes(classes)
        x = torch.cat([condition[:, None], self.embed(codes)], dim=1)
        return self.head(self.transformer(x + self.place[: x.shape[1]], condition=condition))

    def forward(self, batch):
        with torch.no_grad():
            codes = self.tokenizer.encode(batch[0]).flatten(1)
        logits = self.logits(codes[:, :-1], batch[1])
        return Predicted(logits, {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), codes.flatten())})

    @torch.no_grad()
    def sample(self, classes):
        generator = torch.Generator().manual_seed(0)
        codes = torch.zeros(len(classes), 0, dtype=torch.int64)
        for _ in range(16):
            probabilities = self.logits(codes, classes)[:, -1].softmax(dim=-1)
            codes = torch.cat([codes, torch.multinomial(probabilities, 1, generator=generator)], dim=1)
        return self.tokenizer.decode(codes.reshape(-1, 4, 4, 1))


@pytest.mark.long
@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_four_passes_do_as_well_as_sixteen(digits_16, share_read, seed):
    """The class is read off VAR's samples as often as off those of a raster model of the same transformer and steps."""
    data, (images, _) = digits_16
    classes, shares, errors = torch.arange(10).repeat(30), {}, {}
    for name, make in (
        ("scales", lambda: MultiScaleVQVAE(**MultiScaleVQVAE.SMALL)),
        ("raster", lambda: RQVAE(**{**RQVAE.SMALL, "num_codebooks": 1})),
    ):
        torch.manual_seed(seed)
        tokenizer = make()
        train(
            tokenizer,
            [image for image, _ in data],
            steps=300,
            batch_size=32,
            learning_rate=2e-3,
            seed=seed,
            progress=False,
        )
        with torch.no_grad():
            errors[name] = (tokenizer(images).reconstruction - images).square().mean().item()
        torch.manual_seed(seed)
        model = VAR(tokenizer, 10, drop=0.0) if name == "scales" else Raster(tokenizer)
        train(model, data, steps=300, batch_size=32, learning_rate=2e-3, seed=seed, progress=False)
        shares[name] = share_read(model.sample(classes), classes)
    assert shares["scales"] > shares["raster"] - 0.03, (shares, errors)
    assert shares["scales"] > 0.6, shares
