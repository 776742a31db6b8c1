"""The laws that every tokenizer keeps, whatever its modality, as functions that anyone can run on a class of their own.

    from impl.checks_tokenizers import check_tokenizer
    check_tokenizer(MyTokenizer)

A tokenizer offers `tiny(seed)` and `example(seed, count)`, samples whose sizes `tiny` takes without padding. A law that
a method cannot keep is declared on its class, in `exempt_laws`, with the reason.
"""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from impl.laws import Laws, demand, demand_refusal, same_state
from impl.tokenizers.base import Tokenizer
from impl.training import train

TOKENIZER_LAWS = Laws()
tokenizer_law = TOKENIZER_LAWS.register


def check_tokenizer(tokenizer: type[Tokenizer]) -> None:
    """Run every law on `tokenizer.tiny()` and `tokenizer.example()`, but those in its `exempt_laws`.

    Raises:
        LawError: naming all the laws that failed and how, or an exempt law that is unknown.
    """
    TOKENIZER_LAWS.check(tokenizer)


def trained(tokenizer: type[Tokenizer], steps: int = 2) -> Tokenizer:
    """Return the tiny instance in evaluation mode after a few steps of `impl.training`, as everyone trains it."""
    tiny = tokenizer.tiny(seed=0)
    train(tiny, tokenizer.example(seed=1, count=4), steps=steps, batch_size=2, progress=False)
    return tiny.eval()


def states(tokenizer: Tokenizer) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}


@tokenizer_law
def tiny_and_example_follow_the_seed(tokenizer: type[Tokenizer]) -> None:
    """Same seed, same weights and same samples; another seed, other weights."""
    first, second, other = (tokenizer.tiny(seed=seed).state_dict() for seed in (0, 0, 1))
    demand(same_state(first, second), "two tiny(seed=0) differ")
    demand(not same_state(first, other), "tiny(seed=1) is tiny(seed=0)")
    samples, again = (tokenizer.example(seed=0, count=3) for _ in range(2))
    demand(len(samples) == 3, f"example(count=3) gives {len(samples)} samples")
    demand(torch.equal(samples, again), "two example(seed=0) differ")


@tokenizer_law
def decode_inverts_encode(tokenizer: type[Tokenizer]) -> None:
    """In evaluation mode decode(encode(x)) is forward(x).reconstruction, shaped like x; the codes agree too."""
    tiny, samples = trained(tokenizer), tokenizer.example()
    with torch.no_grad():
        output, codes = tiny(samples), tiny.encode(samples)
        decoded = tiny.decode(codes)
    demand(torch.equal(output.codes, codes), "forward and encode give different codes")
    shapes = f"{tuple(output.reconstruction.shape)} for samples of {tuple(samples.shape)}"
    demand(output.reconstruction.shape == samples.shape, f"the reconstruction has shape {shapes}")
    demand(decoded.shape == samples.shape, f"decode gives {tuple(decoded.shape)}, not {tuple(samples.shape)}")
    demand(
        torch.allclose(decoded, output.reconstruction, rtol=1e-4, atol=1e-5),
        "decode(encode(x)) != reconstruction",
    )


@tokenizer_law
def codes_are_legal(tokenizer: type[Tokenizer]) -> None:
    """Codes are int64, shaped (B, ..., M), and column m is in [0, K_m)."""
    tiny, samples = trained(tokenizer), tokenizer.example(count=3)
    codes, sizes = tiny.encode(samples), torch.tensor(tiny.codebook_sizes)
    demand(codes.dtype == torch.int64, f"codes are {codes.dtype}")
    demand(codes.ndim >= 2 and len(codes) == 3, f"codes of 3 samples have shape {tuple(codes.shape)}")
    demand(codes.shape[-1] == len(sizes), f"{codes.shape[-1]} columns for {len(sizes)} codebook sizes")
    demand(bool(((codes >= 0) & (codes < sizes)).all()), "a code is out of range")


@tokenizer_law
def company_does_not_matter(tokenizer: type[Tokenizer]) -> None:
    """A sample alone gets the codes and the reconstruction that it gets in a batch."""
    tiny, samples = trained(tokenizer), tokenizer.example(count=3)
    with torch.no_grad():
        codes = tiny.encode(samples)
        decoded = tiny.decode(codes)
        demand(torch.equal(tiny.encode(samples[1:2]), codes[1:2]), "a sample alone gets other codes")
        alone = tiny.decode(codes[1:2])
    demand(torch.allclose(alone, decoded[1:2], rtol=1e-4, atol=1e-5), "codes alone decode to something else")


@tokenizer_law
def every_layer_learns(tokenizer: type[Tokenizer]) -> None:
    """The losses are finite scalars; their sum has a finite gradient in every trained parameter, and none of the
    layers that own these stays without (a single number may stand at its optimum, as a critic's bias does at first).
    """
    tiny = trained(tokenizer).train()
    torch.manual_seed(0)
    for seed in range(3):
        losses = tiny(tokenizer.example(seed=seed, count=4)).losses
        demand(bool(losses), "there are no losses")
        for name, loss in losses.items():
            demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"the loss {name} is {loss}")
        sum(losses.values()).backward()
    for layer, module in tiny.named_modules():
        slopes = []
        for name, parameter in module.named_parameters(layer, recurse=False):
            if parameter.requires_grad:
                demand(parameter.grad is not None, f"no gradient reaches {name}")
                demand(bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite")
                slopes.append(float(parameter.grad.abs().sum()))
        demand(not slopes or max(slopes) > 0, f"the gradients of {layer} are zero")


@tokenizer_law
def same_seed_same_result(tokenizer: type[Tokenizer]) -> None:
    """Two runs of training from one seed end in bit-identical states."""
    demand(
        same_state(states(trained(tokenizer)), states(trained(tokenizer))), "two runs from one seed differ"
    )


@tokenizer_law
def evaluation_changes_nothing(tokenizer: type[Tokenizer]) -> None:
    """Encode, decode and forward in evaluation mode leave the state as it was."""
    tiny, samples = trained(tokenizer), tokenizer.example()
    before = states(tiny)
    with torch.no_grad():
        tiny.decode(tiny.encode(samples))
        tiny(samples)
    demand(same_state(before, tiny.state_dict()), "evaluation mode changed the state")


@tokenizer_law
def state_survives_copies(tokenizer: type[Tokenizer]) -> None:
    """A deep copy and another instance that loads the state dict give the same codes and go on training alike."""
    original, samples = trained(tokenizer), tokenizer.example(seed=2, count=4)
    copied, loaded = copy.deepcopy(original), tokenizer.tiny(seed=1)
    loaded.load_state_dict(states(original))
    for name, instance in (("deepcopy", copied), ("load_state_dict", loaded.eval())):
        demand(torch.equal(instance.encode(samples), original.encode(samples)), f"{name} changes codes")
    for instance in (original, copied, loaded):
        train(instance, samples, steps=1, batch_size=2, progress=False)
    demand(same_state(states(original), states(copied)), "training goes on differently after deepcopy")
    demand(same_state(states(original), states(loaded)), "training goes on differently after load_state_dict")


@tokenizer_law
def bad_input_is_refused(tokenizer: type[Tokenizer]) -> None:
    """Wrong axes, NaN, integers and illegal codes raise ValueError or TypeError and change nothing."""
    tiny, samples = trained(tokenizer).train(), tokenizer.example()
    codes, before = tiny.eval().encode(samples), states(tiny)
    column = torch.arange(len(tiny.codebook_sizes)) == 0
    broken, sizes = samples.clone(), torch.tensor(tiny.codebook_sizes)
    broken.view(-1)[0] = float("nan")
    attempts: dict[str, tuple[Callable[[Tensor], object], Tensor]] = {
        "samples without the batch axis": (tiny, samples[0]),
        "samples with an axis too many": (tiny, samples[None]),
        "integer samples": (tiny, samples.long()),
        "NaN": (tiny, broken),
        "NaN to encode": (tiny.encode, broken),
        "a code of K": (tiny.decode, torch.where(column, sizes, codes)),
        "a code of -2": (tiny.decode, torch.where(column, -2, codes)),
        "float codes": (tiny.decode, codes.float()),
        "a column too many": (tiny.decode, torch.cat([codes, codes[..., :1]], dim=-1)),
    }
    for (name, (attempt, given)), training in itertools.product(attempts.items(), (False, True)):
        tiny.train(training)
        demand_refusal(name, partial(attempt, given))
    demand(same_state(before, states(tiny)), "refused input changed the state")
