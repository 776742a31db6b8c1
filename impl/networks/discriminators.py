"""Critics of images that judge patches; they return logits and the outputs of layers, as lists over critics."""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """A convolutional critic with one logit a patch (esser2021taming, after image-to-image translation).

    Convolutions of 4 pixels halve the map `downsamplings` times, each doubling the width; two more of stride 1 widen
    what a logit sees to some 2^downsamplings * 9 pixels.

    Args:
        channels: of the images.
        width: channels after the first layer.
        downsamplings: how often the map is halved.
    """

    def __init__(self, channels: int = 3, width: int = 64, downsamplings: int = 3) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2))]
        for step in range(1, downsamplings + 1):
            narrow, wide = width * 2 ** min(step - 1, 3), width * 2 ** min(step, 3)
            stride = 2 if step < downsamplings else 1
            layers.append(
                nn.Sequential(
                    # The normalisation has a shift of its own.
                    nn.Conv2d(narrow, wide, 4, stride=stride, padding=1, bias=False),
                    nn.GroupNorm(1, wide),
                    nn.LeakyReLU(0.2),
                )
            )
        self.layers = nn.ModuleList(layers)
        self.head = nn.Conv2d(wide, 1, 4, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge images (B, C, H, W).

        Returns:
            The logits (B, 1, h, w), high for real, and the outputs of the layers before them, each in a list of one.

        Raises:
            ValueError: images too small for one logit.
        """
        features, x = [], images
        least = 2 ** len(self.layers)
        if min(images.shape[-2:]) < least:
            shape = f"{least} x {least}, got {tuple(images.shape[-2:])}"
            raise ValueError(f"images must have at least {shape} pixels.")
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return [self.head(x)], [features]
