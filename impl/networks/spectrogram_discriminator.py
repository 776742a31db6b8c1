"""Critics of waveforms that look at complex spectrograms of several resolutions (defossez2023high)."""

import torch
from torch import Tensor, nn

from impl.objectives.spectral import spectrogram


class SpectrogramDiscriminator(nn.Module):
    """One network of 2-D convolutions a window length; real and imaginary part are its input channels.

    Args:
        windows: lengths of the windows in samples.
        width: channels inside.
    """

    def __init__(self, windows: tuple[int, ...] = (64, 128, 256), width: int = 8) -> None:
        super().__init__()
        self.windows = windows
        self.critics = nn.ModuleList(_critic(width) for _ in windows)

    def forward(self, waveforms: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge waveforms (B, C, N).

        Returns:
            For each window the logits, a map over time and frequency, high for real; and for each window the outputs of
            the layers before it, for feature matching.
        """
        logits, features = [], []
        for window, critic in zip(self.windows, self.critics, strict=True):
            spectrum = spectrogram(waveforms, window)
            x, layers = torch.view_as_real(spectrum).permute(0, 3, 2, 1), []
            for layer in critic[:-1]:
                x = layer(x)
                layers.append(x)
            logits.append(critic[-1](x))
            features.append(layers)
        return logits, features


def _critic(width: int) -> nn.ModuleList:
    """Convolutions over (frames, bins): wide in frequency, dilated in time, bins halved at each."""
    stages = [_stage(2, width, 1, 1)] + [_stage(width, width, dilation, 2) for dilation in (1, 2)]
    return nn.ModuleList([*stages, nn.Conv2d(width, 1, 3, padding=1)])


def _stage(width_in: int, width_out: int, dilation: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(
        width_in, width_out, (3, 9), stride=(1, stride), dilation=(dilation, 1), padding=(dilation, 4)
    )
    return nn.Sequential(nn.utils.parametrizations.weight_norm(convolution), nn.LeakyReLU(0.2))
