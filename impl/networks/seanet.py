"""SEANet, the convolutional encoder and decoder of waveforms that neural codecs share: strided convolutions that look
only backwards, an LSTM at the low rate, and the same in reverse (tagliasacchi2020seanet; defossez2023high).

Every layer can also run in pieces: `step(x, state)` takes the next samples and what the layer remembers of the
earlier ones, and gives what `forward` would have given for them. With zero padding that holds exactly; reflection,
which the released EnCodec uses, looks at the first samples from behind and so needs them all.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

PADDINGS = ("zeros", "reflect")


class BackwardConv(nn.Module):
    """A convolution whose output at t sees inputs up to t: ceil(N / stride) outputs from N inputs.

    Args:
        width_in: channels of the input.
        width_out: channels of the output.
        kernel: taps.
        stride: inputs for an output.
        dilation: inputs between two taps.
        padding: what stands before the first input, "zeros" or "reflect".
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        if padding not in PADDINGS:
            raise ValueError(f'padding must be "zeros" or "reflect", got {padding!r}.')
        self.conv = weight_norm(nn.Conv1d(width_in, width_out, kernel, stride, dilation=dilation))
        self.stride, self.padding = stride, padding
        self.context = (kernel - 1) * dilation + 1 - stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width_in, N) to (B, width_out, ceil(N / stride))."""
        return self.conv(_padded(x, self.context, -x.shape[-1] % self.stride, self.padding))

    def step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map the next inputs, a multiple of the stride; the state is the inputs that still have a tap on them."""
        if self.padding != "zeros":
            raise ValueError(
                'only padding="zeros" can run in pieces: reflection needs the first samples whole.'
            )
        if x.shape[-1] % self.stride:
            raise ValueError(f"a piece must be a multiple of {self.stride} long, got {x.shape[-1]}.")
        x = F.pad(x, (self.context, 0)) if state is None else torch.cat([state, x], dim=-1)
        return self.conv(x), x[..., x.shape[-1] - self.context :]


class BackwardUpsampling(nn.Module):
    """A transposed convolution cut on the right, so that output t sees inputs up to t / stride: N stride outputs."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv = weight_norm(nn.ConvTranspose1d(width_in, width_out, 2 * stride, stride))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width_in, N) to (B, width_out, N stride)."""
        return self.conv(x)[..., : -self.stride]

    def step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map the next inputs; the state is what the last input adds to outputs yet to come."""
        y = self.conv(x)
        if state is not None:
            y = torch.cat([y[..., : self.stride] + state, y[..., self.stride :]], dim=-1)
        # The bias belongs to every output once: it comes again with the next piece.
        return y[..., : -self.stride], y[..., -self.stride :] - self.conv.bias[:, None]


class Recurrence(nn.Module):
    """An LSTM over time with a skip connection around it."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, N) to the same shape."""
        return self.step(x, None)[0]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map the next inputs; the state is the LSTM's own."""
        sequence = x.permute(2, 0, 1)
        output, state = self.lstm(sequence, state)
        return (output + sequence).permute(1, 2, 0), state


class ResidualUnit(nn.Module):
    """A dilated convolution and a pointwise one, around which a pointwise shortcut runs.

    Args:
        width: channels, halved inside.
        dilation: of the first convolution, of 3 taps.
        padding: as in `BackwardConv`.
    """

    def __init__(self, width: int, dilation: int, padding: str) -> None:
        super().__init__()
        self.block = Stack(
            nn.ELU(),
            BackwardConv(width, width // 2, 3, dilation=dilation, padding=padding),
            nn.ELU(),
            BackwardConv(width // 2, width, 1, padding=padding),
        )
        self.shortcut = BackwardConv(width, width, 1, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, N) to the same shape."""
        return self.shortcut(x) + self.block(x)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map the next inputs; the shortcut has one tap and remembers nothing."""
        y, state = self.block.step(x, state)
        return self.shortcut(x) + y, state


class Stack(nn.Sequential):
    """Layers one after the other, whole or in pieces."""

    def step(self, x: Tensor, state: list | None) -> tuple[Tensor, list]:
        """Map the next inputs; the state is that of every layer. Layers without `step` remember nothing."""
        states = []
        for layer, before in zip(self, state or [None] * len(self), strict=True):
            x, after = layer.step(x, before) if hasattr(layer, "step") else (layer(x), None)
            states.append(after)
        return x, states


def seanet_encoder(
    channels: int,
    dim: int,
    width: int,
    strides: tuple[int, ...],
    dilations: tuple[int, ...] = (1,),
    lstm_layers: int = 2,
    padding: str = "zeros",
) -> Stack:
    """Build an encoder (B, channels, N) -> (B, dim, ceil(N / product of strides)).

    Args:
        channels: of the waveform.
        dim: of the latents.
        width: channels of the first layer; they double at every stride.
        strides: in the order of the encoder.
        dilations: of the residual units before each stride.
        lstm_layers: at the low rate; with 0 there is none.
        padding: as in `BackwardConv`.
    """
    layers: list[nn.Module] = [BackwardConv(channels, width, 7, padding=padding)]
    for stride in strides:
        layers += [ResidualUnit(width, dilation, padding) for dilation in dilations]
        layers += [nn.ELU(), BackwardConv(width, 2 * width, 2 * stride, stride, padding=padding)]
        width *= 2
    layers += [Recurrence(width, lstm_layers)] if lstm_layers else []
    return _keep_variance(Stack(*layers, nn.ELU(), BackwardConv(width, dim, 7, padding=padding)))


def seanet_decoder(
    channels: int,
    dim: int,
    width: int,
    strides: tuple[int, ...],
    dilations: tuple[int, ...] = (1,),
    lstm_layers: int = 2,
    padding: str = "zeros",
) -> Stack:
    """Build the mirror image (B, dim, T) -> (B, channels, T product of strides); arguments as `seanet_encoder`."""
    width *= 2 ** len(strides)
    layers: list[nn.Module] = [BackwardConv(dim, width, 7, padding=padding)]
    layers += [Recurrence(width, lstm_layers)] if lstm_layers else []
    for stride in reversed(strides):
        layers += [nn.ELU(), BackwardUpsampling(width, width // 2, stride)]
        width //= 2
        layers += [ResidualUnit(width, dilation, padding) for dilation in dilations]
    return _keep_variance(Stack(*layers, nn.ELU(), BackwardConv(width, channels, 7, padding=padding)))


@torch.no_grad()
def _keep_variance(stack: Stack) -> Stack:
    """Start every convolution with weights that keep the variance, and no bias.

    PyTorch's default shrinks a signal at each of some 20 layers, and a quiet waveform is then nothing beside the
    biases: small codecs do not leave "silence" as their answer for a thousand steps.
    """
    for layer in stack.modules():
        if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
            # Each output of a transposed convolution hears kernel / stride = 2 inputs.
            inputs = layer.in_channels * (
                2 if isinstance(layer, nn.ConvTranspose1d) else layer.kernel_size[0]
            )
            layer.weight = torch.randn_like(layer.weight) / inputs**0.5
            layer.bias.zero_()
    return stack


def _padded(x: Tensor, left: int, right: int, padding: str) -> Tensor:
    if padding == "zeros":
        return F.pad(x, (left, right))
    # Reflection needs more samples than it writes: a shorter input is lengthened by zeros first.
    short = max(0, max(left, right) + 1 - x.shape[-1])
    padded = F.pad(F.pad(x, (0, short)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - short]
