"""Critics of waveforms that listen to the samples themselves, at several rates (zeghidour2022soundstream)."""

import torch.nn.functional as F
from torch import Tensor, nn


class WaveDiscriminator(nn.Module):
    """One stack of grouped strided convolutions for each rate: the waveform as it is, at half, at a quarter.

    Args:
        scales: number of rates.
        width: channels after the first layer; they double at each of two strides of 4.
    """

    def __init__(self, scales: int = 3, width: int = 8) -> None:
        super().__init__()
        self.critics = nn.ModuleList(_critic(width) for _ in range(scales))

    def forward(self, waveforms: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge waveforms (B, C, N).

        Returns:
            For each rate the logits (B C, 1, n), high for real; and the outputs of the layers before them.
        """
        x, logits, features = waveforms.reshape(-1, 1, waveforms.shape[-1]), [], []
        for critic in self.critics:
            y, layers = x, []
            for layer in critic[:-1]:
                y = layer(y)
                layers.append(y)
            logits.append(critic[-1](y))
            features.append(layers)
            x = F.avg_pool1d(x, 4, stride=2, padding=1, count_include_pad=False)
        return logits, features


def _critic(width: int) -> nn.ModuleList:
    layers = [_layer(1, width, 15, 1, 1)]
    for _ in range(2):
        layers.append(_layer(width, 2 * width, 17, 4, max(1, width // 4)))
        width *= 2
    layers.append(_layer(width, width, 5, 1, 1))
    return nn.ModuleList([*layers, nn.Conv1d(width, 1, 3, padding=1)])


def _layer(width_in: int, width_out: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv1d(width_in, width_out, kernel, stride, padding=kernel // 2, groups=groups)
    return nn.Sequential(nn.utils.parametrizations.weight_norm(convolution), nn.LeakyReLU(0.2))
