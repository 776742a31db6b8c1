"""Weights that mean shares of the gradient, whatever the scale of the losses (defossez2023high)."""

import torch
from torch import Tensor, nn

from impl.quantizers.collectives import averaged


class Balancer(nn.Module):
    """Scale the gradient of every loss with respect to one tensor to a norm of its own.

    For losses l_i of the decoder's output x with weights w_i, the gradient that flows back from x is

        sum_i  w_i / (w_1 + ... + w_n)  *  g_i / <|g_i|>,        g_i = d l_i / d x,

    with <|g_i|> an exponential average of the norm. Multiplying a loss by 100 changes nothing once the average has
    followed, and a weight says which share of the push a loss has.

    Args:
        weights: name -> w_i, positive.
        decay: of the average.
    """

    def __init__(self, weights: dict[str, float], decay: float = 0.999) -> None:
        super().__init__()
        wrong = [name for name, weight in weights.items() if not weight > 0]
        if wrong or not weights:
            raise ValueError(f"weights must be positive and at least one, got {weights!r}.")
        self.weights, self.decay = dict(weights), decay
        self.register_buffer("norms", torch.zeros(len(weights)))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        """Return a scalar whose value is the weighted sum of the losses, and whose gradient is the balanced one.

        Args:
            losses: one scalar for each weight, all functions of `output`.
            output: the tensor from which the gradient goes on, part of a graph.

        Raises:
            ValueError: the names are not those of the weights.
        """
        if set(losses) != set(self.weights):
            raise ValueError(f"losses must be {', '.join(self.weights)}, got {', '.join(losses) or 'none'}.")
        gradients = [torch.autograd.grad(losses[name], output, retain_graph=True)[0] for name in self.weights]
        norms = torch.stack([gradient.flatten(1).norm(dim=1).mean() for gradient in gradients]).detach()
        # Every process must scale alike, or the sum of their gradients would be no gradient of anything.
        average = self._follow(averaged(norms))
        whole = sum(self.weights.values())
        balanced = sum(
            self.weights[name] / whole * gradient / norm.clamp(min=1e-12)
            for name, gradient, norm in zip(self.weights, gradients, average, strict=True)
        )
        carrier = (output * balanced.detach()).sum()
        value = sum(weight * losses[name].detach() for name, weight in self.weights.items())
        return value + carrier - carrier.detach()

    @torch.no_grad()
    def _follow(self, norms: Tensor) -> Tensor:
        """Update the averages; the start at zero is corrected for, as Adam corrects it."""
        self.norms.lerp_(norms.to(self.norms.dtype), 1 - self.decay)
        self.steps += 1
        return self.norms / (1 - self.decay**self.steps)
