"""The laws that every quantizer keeps, as functions that anyone can run on a class of their own.

    from impl.checks import check_quantizer
    check_quantizer(MyQuantizer)

A law that a method cannot keep is declared on its class, in `exempt_laws`, with the reason. The law of
data-parallel training, which needs processes, is in `impl.checks_parallel`.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from impl.laws import Laws, demand, demand_refusal, same_state
from impl.quantizers.base import Quantized, Quantizer

LAWS = Laws()
law = LAWS.register


def check_quantizer(quantizer: type[Quantizer]) -> None:
    """Run every law on `quantizer.tiny()`, but those in its `exempt_laws`.

    Raises:
        LawError: naming all the laws that failed and how, or an exempt law that is unknown.
    """
    LAWS.check(quantizer)


def latents(quantizer: Quantizer, *shape: int, seed: int = 0) -> Tensor:
    """Standard normal latents (*shape, D)."""
    return torch.randn(*shape, quantizer.dim, generator=torch.Generator().manual_seed(seed))


def train_step(quantizer: Quantizer, given: Tensor, mask: Tensor | None = None) -> Quantized:
    """Take a gradient step on the losses and on a pull of the latents to one; return the step's output."""
    given = given.clone().requires_grad_()
    output = quantizer.train()(given, mask)
    total = sum(output.losses.values(), (output.latents - 1).square().mean())
    parameters = [parameter for parameter in quantizer.parameters() if parameter.requires_grad]
    if total.requires_grad and parameters:
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter -= 0.1 * gradient
    return output


def trained(quantizer: type[Quantizer], steps: int = 3) -> Quantizer:
    """Return the tiny instance after a few steps, since no law should hold only at initialisation."""
    torch.manual_seed(0)
    tiny = quantizer.tiny()
    for step in range(steps):
        train_step(tiny, latents(tiny, 16, 4, seed=step))
    return tiny.eval()


def snapshot(quantizer: Quantizer) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}


@law
def decode_inverts_encode(quantizer: type[Quantizer]) -> None:
    """In evaluation mode decode(encode(z)) is forward(z).latents to the bit; the codes agree too."""
    tiny = trained(quantizer)
    given = latents(tiny, 3, 5, seed=9)
    output = tiny(given)
    demand(torch.equal(output.codes, tiny.encode(given)), "forward and encode give different codes")
    demand(torch.equal(output.latents, tiny.decode(output.codes)), "decode(encode(z)) != forward(z).latents")


@law
def codes_are_legal(quantizer: type[Quantizer]) -> None:
    """Codes are int64, shaped (..., M), and code m is in [0, K_m)."""
    tiny = trained(quantizer)
    codes = tiny.encode(latents(tiny, 7, 3))
    sizes = torch.tensor(tiny.codebook_sizes)
    demand(codes.dtype == torch.int64, f"codes are {codes.dtype}")
    demand(codes.shape == (7, 3, len(sizes)), f"codes have shape {tuple(codes.shape)}")
    demand(bool(((codes >= 0) & (codes < sizes)).all()), "a code is out of range")


@law
def batch_shape_and_order_do_not_matter(quantizer: type[Quantizer]) -> None:
    """Codes of a vector do not depend on the batch's shape, order, memory layout or company."""
    tiny = trained(quantizer)
    given = latents(tiny, 4, 6)
    codes, flat = tiny.encode(given), given.reshape(24, -1)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    demand(torch.equal(tiny.encode(flat).reshape(codes.shape), codes), "reshaping the batch changes codes")
    demand(torch.equal(tiny.encode(flat[order]), codes.reshape(24, -1)[order]), "reordering changes codes")
    strided = given.transpose(0, 1).contiguous().transpose(0, 1)
    demand(torch.equal(tiny.encode(strided), codes), "the memory layout changes codes")
    demand(torch.equal(tiny.encode(given[1, 2]), codes[1, 2]), "a vector alone gets other codes")


@law
def gradient_reaches_the_encoder(quantizer: type[Quantizer]) -> None:
    """The decoder's gradient arrives at the encoder, finite and not zero."""
    tiny = trained(quantizer).train()
    given = latents(tiny, 8).requires_grad_()
    weights = latents(tiny, 8, seed=5)
    (gradient,) = torch.autograd.grad((tiny(given).latents * weights).sum(), given)
    demand(bool(torch.isfinite(gradient).all()), "the gradient is not finite")
    demand(bool(gradient.abs().sum() > 0), "the gradient is zero")


@law
def losses_are_finite_scalars(quantizer: type[Quantizer]) -> None:
    """Losses are named, scalar and finite, also for latents that are all zero and for large ones."""
    for scale in (0.0, 1.0, 1e3):
        tiny = trained(quantizer).train()
        given = (latents(tiny, 8) * scale).requires_grad_()
        output = tiny(given)
        for name, loss in output.losses.items():
            demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss {name} at scale {scale} is {loss}")
        total = sum(output.losses.values(), output.latents.sum())
        (gradient,) = torch.autograd.grad(total, given)
        demand(bool(torch.isfinite(gradient).all()), f"the gradient at scale {scale} is not finite")


@law
def codebook_moves(quantizer: type[Quantizer]) -> None:
    """A training step changes what some code decodes to."""
    tiny = trained(quantizer)
    codes = tiny.encode(latents(tiny, 32))
    before = tiny.decode(codes).clone()
    train_step(tiny, latents(tiny, 32) + 0.5)
    demand(not torch.equal(tiny.decode(codes), before), "no codeword changed in a training step")


@law
def evaluation_changes_nothing(quantizer: type[Quantizer]) -> None:
    """Encode, decode and forward in evaluation mode leave the state as it was, also before any training."""
    tiny = quantizer.tiny().eval()
    before = snapshot(tiny)
    tiny.decode(tiny(latents(tiny, 8)).codes)
    demand(same_state(before, tiny.state_dict()), "evaluation mode changed the state")


@law
def half_precision_keeps_codes(quantizer: type[Quantizer]) -> None:
    """bfloat16 latents, with or without autocast, get the codes of the same values in float32."""
    tiny = trained(quantizer)
    half = latents(tiny, 16, 4).bfloat16()
    codes = tiny.encode(half.float())
    demand(torch.equal(tiny.encode(half), codes), "bfloat16 latents get other codes than in float32")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = tiny.train()(half.requires_grad_())
        demand(bool(torch.isfinite(output.latents).all()), "latents under autocast are not finite")
        demand(output.latents.dtype == torch.bfloat16, f"bfloat16 in, {output.latents.dtype} out")
        demand(all(bool(torch.isfinite(loss)) for loss in output.losses.values()), "a loss is not finite")
        tiny.eval()
        demand(torch.equal(tiny.encode(half), tiny.encode(half.float())), "autocast changes the codes")


@law
def masked_positions_change_nothing(quantizer: type[Quantizer]) -> None:
    """Masked positions, NaN included, change neither output, losses nor state; a full mask is none."""
    torch.manual_seed(0)
    clean = quantizer.tiny()
    marred, plain, full = copy.deepcopy(clean), copy.deepcopy(clean), copy.deepcopy(clean)
    given = latents(clean, 4, 12)
    mask = torch.arange(12).expand(4, 12) < torch.tensor([12, 7, 10, 9])[:, None]
    outputs = []
    for instance, filler in ((clean, 0.0), (marred, float("nan"))):
        torch.manual_seed(1)
        outputs.append(train_step(instance, given.masked_fill(~mask[..., None], filler), mask))
    demand(torch.equal(outputs[0].latents, outputs[1].latents), "masked positions change the latents")
    demand(torch.equal(outputs[0].codes, outputs[1].codes), "masked positions change the codes")
    demand(bool((outputs[0].latents[~mask] == 0).all()), "masked positions do not come back as zero")
    demand(same_state(outputs[0].losses, outputs[1].losses), "masked positions change the losses")
    demand(same_state(clean.state_dict(), marred.state_dict()), "masked positions change the state")
    results = []
    for instance, each in ((plain, None), (full, torch.ones_like(mask))):
        torch.manual_seed(1)
        results.append(train_step(instance, given, each))
    demand(same_state(results[0].losses, results[1].losses), "a mask that is all True changes the losses")


@law
def same_seed_same_result(quantizer: type[Quantizer]) -> None:
    """Two runs from one seed end in bit-identical states."""
    demand(
        same_state(snapshot(trained(quantizer)), snapshot(trained(quantizer))),
        "two runs from one seed differ",
    )


@law
def state_survives_copies(quantizer: type[Quantizer]) -> None:
    """A deep copy and a fresh instance that loads the state dict go on exactly as the original."""
    original = trained(quantizer)
    copied, loaded = copy.deepcopy(original), quantizer.tiny()
    loaded.load_state_dict(snapshot(original))
    given = latents(original, 16, 4, seed=8)
    for name, instance in (("deepcopy", copied), ("load_state_dict", loaded.eval())):
        demand(torch.equal(instance.encode(given), original.encode(given)), f"{name} changes codes")
    states = []
    for instance in (original, copied, loaded):
        torch.manual_seed(2)
        train_step(instance, given)
        states.append(snapshot(instance))
    demand(same_state(states[0], states[1]), "training goes on differently after deepcopy")
    demand(same_state(states[0], states[2]), "training goes on differently after load_state_dict")


@law
def bad_input_is_refused(quantizer: type[Quantizer]) -> None:
    """Wrong widths, NaN, Inf, types, codes and masks raise ValueError or TypeError and change nothing."""
    tiny = trained(quantizer).train()
    given, before = latents(tiny, 4), snapshot(tiny)
    codes = tiny.encode(given)
    tall = codes.clone()
    tall[0, 0] = tiny.codebook_sizes[0]
    attempts: dict[str, Callable[[], object]] = {
        "latents one too wide": lambda: tiny(torch.zeros(4, tiny.dim + 1)),
        "NaN": lambda: tiny(given.clone().fill_(float("nan"))),
        "Inf": lambda: tiny.encode(given.clone().fill_(float("inf"))),
        "integer latents": lambda: tiny(torch.zeros(4, tiny.dim, dtype=torch.int64)),
        "a code of K": lambda: tiny.decode(tall),
        "a code of -2": lambda: tiny.decode(codes - codes - 2),
        "float codes": lambda: tiny.decode(codes.float()),
        "codes one column too wide": lambda: tiny.decode(
            torch.zeros(4, codes.shape[1] + 1, dtype=torch.int64)
        ),
        "a mask of another shape": lambda: tiny(given, torch.ones(5, dtype=torch.bool)),
        "a float mask": lambda: tiny(given, torch.ones(4)),
    }
    for name, attempt in attempts.items():
        demand_refusal(name, attempt)
    demand(same_state(before, snapshot(tiny)), "refused input changed the state")


@law
def empty_batch_is_exact(quantizer: type[Quantizer]) -> None:
    """An empty batch gives empty latents and codes, zero losses, and changes no codeword, in training too."""
    tiny = trained(quantizer)
    codes = tiny.encode(latents(tiny, 16))
    before = tiny.decode(codes).clone()
    output = tiny.train()(latents(tiny, 0, 3))
    demand(output.latents.shape == (0, 3, tiny.dim), f"latents have shape {tuple(output.latents.shape)}")
    demand(output.codes.shape == (0, 3, len(tiny.codebook_sizes)), f"codes: {tuple(output.codes.shape)}")
    demand(all(float(loss.detach()) == 0 for loss in output.losses.values()), "a loss of nothing is not zero")
    demand(torch.allclose(tiny.decode(codes), before, atol=1e-6), "an empty batch moved a codeword")


@law
def compiles_without_breaks(quantizer: type[Quantizer]) -> None:
    """torch.compile captures forward as one graph, with the codes and losses of eager mode."""
    torch.compiler.reset()
    for training in (True, False):
        eager = trained(quantizer).train(training)
        compiled = copy.deepcopy(eager)
        given = latents(eager, 16, 4)
        torch.manual_seed(3)
        expected = eager(given)
        torch.manual_seed(3)
        found = torch.compile(compiled, backend="aot_eager", fullgraph=True)(given)
        demand(torch.equal(found.codes, expected.codes), "compiled codes differ")
        demand(torch.allclose(found.latents, expected.latents, atol=1e-6), "compiled latents differ")
        for name, loss in expected.losses.items():
            demand(torch.allclose(found.losses[name], loss, atol=1e-6), f"compiled loss {name} differs")


@law
def fit_reduces_the_error(quantizer: type[Quantizer]) -> None:
    """`fit`, where there is one, returns the quantizer, is repeatable, and beats the mean of the data."""
    if not hasattr(quantizer, "fit"):
        return
    torch.manual_seed(0)
    tiny, again = quantizer.tiny(), quantizer.tiny()
    data = latents(tiny, 512)
    demand(tiny.fit(data) is tiny, "fit does not return the quantizer")
    again.fit(data)
    codes = tiny.eval().encode(data)
    demand(torch.equal(codes, again.eval().encode(data)), "two fits on the same data differ")
    error = (tiny.decode(codes) - data).square().mean()
    demand(bool(error < data.var()), f"the error {error:.3f} is not below the variance {data.var():.3f}")
