"""Losses between a generator and its critics. Critics give maps of logits, high for real; several critics give a list
of them, of which each counts the same.

A critic trains in the same step as the generator, by the same optimizer, with losses of its own: the tokenizer's
`forward` returns both. What keeps them apart is that the critic's loss sees the reconstruction detached, and that the
generator's loss sees the critic `held`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def discriminator_hinge(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Return the critics' loss: mean of max(0, 1 - real) and of max(0, 1 + fake), averaged over the critics.

    Args:
        real: logits of real samples, a tensor of any shape for each critic.
        fake: logits of generated samples, cut off from the generator's graph.
    """
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def generator_hinge(fake: list[Tensor]) -> Tensor:
    """Return the generator's loss: mean of -fake, averaged over the critics."""
    return torch.stack([-logits.mean() for logits in fake]).mean()


def feature_matching(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Return how far the critics' inner outputs are apart: the mean absolute difference of every layer as a share of
    the mean magnitude that real samples give there (defossez2023high), averaged over layers and critics.
    """
    shares = [
        (r.detach() - f).abs().mean() / r.detach().abs().mean().clamp(min=1e-8)
        for reals, fakes in zip(real, fake, strict=True)
        for r, f in zip(reals, fakes, strict=True)
    ]
    return torch.stack(shares).mean()


def held(critic: nn.Module, samples: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Return what the critic says of samples, with a gradient to the samples and none to the critic's parameters."""
    fixed = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    return torch.func.functional_call(critic, fixed, (samples,))


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, layer: Tensor, limit: float = 1e4) -> Tensor:
    """Return |grad of reconstruction| / |grad of adversarial| at the decoder's last layer (esser2021taming).

    Times this weight the adversarial loss pulls the layer as hard as the reconstruction does. The weight is a constant:
    it has no gradient. Where the losses have no graph (evaluation without gradients) it is 0.

    Args:
        reconstruction: the scalar loss that sets the measure.
        adversarial: the scalar loss to weigh.
        layer: the weight of the last layer that both losses go through.
        limit: largest weight.
    """
    if not (reconstruction.requires_grad and adversarial.requires_grad):
        return reconstruction.new_zeros(())
    measure, weighed = (
        torch.autograd.grad(loss, layer, retain_graph=True)[0].norm()
        for loss in (reconstruction, adversarial)
    )
    return (measure / (weighed + 1e-4)).clamp(max=limit).detach()
