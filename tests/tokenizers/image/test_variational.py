"""The variational autoencoder: the laws, and the evidence bound written out by hand."""

import torch
import torch.nn.functional as F

from impl.checks_tokenizers import check_tokenizer
from impl.tokenizers.image.variational import VariationalAutoencoder


def test_keeps_the_laws():
    check_tokenizer(VariationalAutoencoder)


def test_the_loss_is_the_bound_of_an_image_over_its_values():
    """V/2 log(SSE / V) + sum over positions of |z - c|^2 / (2 s^2) + sum_k P log P, per image, over V = 64."""
    model = VariationalAutoencoder.tiny().eval()
    images = VariationalAutoencoder.example(count=5)
    latents = model.latents(images)
    table, variance = model.quantizer.codebook, model.quantizer.log_variance.exp()
    distances = torch.cdist(latents.reshape(5, 16, 8), table.expand(5, -1, -1)).square()
    posterior = torch.softmax(-distances / (2 * variance), dim=2)
    codes = distances.argmin(dim=2)
    decoded = model.decoder(F.embedding(codes, table).reshape(5, 4, 4, 8).permute(0, 3, 1, 2))
    summed = (decoded - images).square().sum(dim=(1, 2, 3)).mean()
    bound = 32 * (summed / 64).log()
    bound = bound + (distances.amin(dim=2) / (2 * variance)).sum(dim=1).mean()
    bound = bound + (posterior * posterior.log()).sum(dim=(1, 2)).mean()
    torch.testing.assert_close(sum(model(images).losses.values()), bound / 64)
