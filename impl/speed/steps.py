"""Training steps and forward passes of the quantizers that learn by gradients."""

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from impl.quantizers.bsq import BSQ
from impl.quantizers.fsq import FSQ
from impl.quantizers.lfq import LFQ
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vq_vae import VectorQuantizer
from impl.speed.measuring import Case, evaluation, training_step


def cases(quick: bool) -> Iterator[Case]:
    """Yield the cases, built just before they run; `quick` shrinks the inputs."""
    scale = 64 if quick else 1
    yield from _training(scale)
    yield from _implicit(scale)


def _training(scale: int) -> Iterator[Case]:
    installed = find_spec("vector_quantize_pytorch")
    for size in (1024, 8192):
        latents = torch.randn(8, 1024 // scale, 64)
        ours = VectorQuantizer(64, size // scale, update="ema")
        peers = {}
        if installed:
            from vector_quantize_pytorch import VectorQuantize

            peers["vector-quantize-pytorch"] = training_step(
                VectorQuantize(dim=64, codebook_size=size // scale), latents
            )
        target = {"vector-quantize-pytorch": 10.0}
        yield Case(f"VQ training step, K = {size // scale}", training_step(ours, latents), peers, target)
    latents = torch.randn(8, 1024 // scale, 128)
    for name, work, target in [("evaluation", evaluation, 5.0), ("training step", training_step, 8.0)]:
        ours, peers = ResidualVQ(128, 1024 // scale, 8, update="ema"), {}
        if installed:
            from vector_quantize_pytorch import ResidualVQ as TheirResidualVQ

            theirs = TheirResidualVQ(dim=128, codebook_size=1024 // scale, num_quantizers=8)
            peers["vector-quantize-pytorch"] = work(theirs, latents)
        if find_spec("transformers") and scale == 1:
            peers["transformers EnCodec"] = work(_encodec(), latents)
        targets = {"vector-quantize-pytorch": target}
        yield Case(f"residual VQ 8 x {1024 // scale}, {name}", work(ours, latents), peers, targets)


def _implicit(scale: int) -> Iterator[Case]:
    installed = find_spec("vector_quantize_pytorch")
    for bits in (16, 18):
        latents = torch.randn(1, 1024 // scale, bits)
        for name, ours, spherical in [("LFQ", LFQ(bits), False), ("BSQ", BSQ(bits), True)]:
            peers = {}
            if installed and scale == 1:
                from vector_quantize_pytorch import LFQ as TheirLFQ

                theirs = TheirLFQ(dim=bits, codebook_size=2**bits, spherical=spherical)
                peers["vector-quantize-pytorch"] = training_step(theirs, latents)
            target = {"vector-quantize-pytorch": 100.0}
            yield Case(f"{name} training step, 2^{bits} codes", training_step(ours, latents), peers, target)
    latents, peers = torch.randn(8, 4096 // scale, 5), {}
    if installed:
        from vector_quantize_pytorch import FSQ as TheirFSQ

        peers["vector-quantize-pytorch"] = evaluation(TheirFSQ([7, 5, 5, 5, 5]), latents)
    target = {"vector-quantize-pytorch": 1.0}
    yield Case("FSQ forward", evaluation(FSQ([7, 5, 5, 5, 5]), latents), peers, target)


def _encodec() -> nn.Module:
    """Return the residual quantizer of transformers' EnCodec, 8 stages, with the latents' axes as ours has them."""
    from transformers import EncodecConfig
    from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer

    theirs = EncodecResidualVectorQuantizer(EncodecConfig(codebook_size=1024, codebook_dim=128))
    theirs.layers = theirs.layers[:8]

    class Decoded(nn.Module):
        def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
            channels_first = latents.transpose(1, 2)
            codes = theirs.encode(channels_first)
            # It has no loss and moves no codebook: the least that a training step could cost.
            return channels_first + (theirs.decode(codes) - channels_first).detach(), codes

    return Decoded()
