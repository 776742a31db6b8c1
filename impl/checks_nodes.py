"""The laws that every node tokenizer keeps, as functions that anyone can run on a class of their own.

    from impl.checks_nodes import check_node_tokenizer
    check_node_tokenizer(MyNodeTokenizer)

They are the laws of `impl.checks_tokenizers` as far as these make sense for nodes, which have neighbours, and those of
graphs: names of nodes mean nothing, and what is not connected says nothing. A law that a method cannot keep is declared
on its class, in `exempt_laws`, with the reason.
"""

import copy
from functools import partial

import torch
from torch import Tensor

from impl.laws import Laws, demand, demand_refusal, same_state
from impl.tokenizers.graph.nodes import NodeTokenizer, OnGraph
from impl.training import train

NODE_LAWS = Laws()
node_law = NODE_LAWS.register


def check_node_tokenizer(tokenizer: type[NodeTokenizer]) -> None:
    """Run every law on `tokenizer.tiny()` and `tokenizer.example()`, but those in its `exempt_laws`.

    Raises:
        LawError: naming all the laws that failed and how, or an exempt law that is unknown.
    """
    NODE_LAWS.check(tokenizer)


def learn(tokenizer: NodeTokenizer, steps: int = 3) -> NodeTokenizer:
    """Train on the example graph, as everyone does; leave in evaluation mode."""
    graph = tokenizer.example()
    train(OnGraph(tokenizer, graph), graph.train, steps=steps, batch_size=len(graph.train), progress=False)
    return tokenizer.eval()


def trained(tokenizer: type[NodeTokenizer]) -> NodeTokenizer:
    """The tiny instance after a few steps, since no law should hold only at initialisation."""
    return learn(tokenizer.tiny(seed=0))


def states(tokenizer: NodeTokenizer) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}


def demand_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], message: str) -> None:
    """Demand that all tensors agree."""
    for ours, theirs in zip(found, expected, strict=True):
        demand(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5), message)


@node_law
def tiny_follows_the_seed(tokenizer: type[NodeTokenizer]) -> None:
    """Same seed, same weights; another seed, other weights; the same training, bit-identical states."""
    first, second, other = (tokenizer.tiny(seed=seed).state_dict() for seed in (0, 0, 1))
    demand(same_state(first, second), "two tiny(seed=0) differ")
    demand(not same_state(first, other), "tiny(seed=1) is tiny(seed=0)")
    demand(
        same_state(states(trained(tokenizer)), states(trained(tokenizer))), "two runs from one seed differ"
    )


@node_law
def decode_inverts_encode(tokenizer: type[NodeTokenizer]) -> None:
    """In evaluation mode decode(encode(graph)) is the reconstruction, (N, F) and (N, E), and the codes agree."""
    tiny, graph = trained(tokenizer), tokenizer.example()
    with torch.no_grad():
        output, codes = tiny(graph.features, graph.edges), tiny.encode(graph.features, graph.edges)
        nodes = tiny.decode(codes)
    demand(torch.equal(output.codes, codes), "forward and encode give different codes")
    demand(nodes.features.shape == graph.features.shape, f"features have shape {tuple(nodes.features.shape)}")
    demand(nodes.links.ndim == 2 and len(nodes.links) == graph.num_nodes, "links are not (N, E)")
    demand_close(nodes, output.reconstruction, "decode(encode(graph)) != reconstruction")


@node_law
def codes_are_legal(tokenizer: type[NodeTokenizer]) -> None:
    """Codes are int64 (N, M), column m is in [0, K_m), and not all nodes have the same."""
    tiny, graph = trained(tokenizer), tokenizer.example()
    codes, sizes = tiny.encode(graph.features, graph.edges), torch.tensor(tiny.codebook_sizes)
    demand(codes.dtype == torch.int64, f"codes are {codes.dtype}")
    demand(codes.shape == (graph.num_nodes, len(sizes)), f"codes have shape {tuple(codes.shape)}")
    demand(bool(((codes >= 0) & (codes < sizes)).all()), "a code is out of range")
    demand(len(codes.unique(dim=0)) > 1, "all nodes have one code")


@node_law
def names_mean_nothing(tokenizer: type[NodeTokenizer]) -> None:
    """Nodes in another order, edges in another order and turned round: the same latents and codes."""
    tiny, graph = trained(tokenizer), tokenizer.example()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(graph.num_nodes, generator=generator)
    other = graph.renumbered(order)
    edges = other.edges.flip(1)[torch.randperm(len(other.edges), generator=generator)]
    latents = tiny.latents(graph.features, graph.edges)
    demand_close((tiny.latents(other.features, edges),), (latents[order],), "names of nodes change latents")
    codes = tiny.encode(graph.features, graph.edges)
    demand(torch.equal(tiny.encode(other.features, edges), codes[order]), "names of nodes change codes")
    decoded, moved = tiny.decode(codes), tiny.decode(codes[order])
    demand_close(moved, tuple(part[order] for part in decoded), "the order of nodes changes what is decoded")


@node_law
def neighbours_matter_and_strangers_do_not(tokenizer: type[NodeTokenizer]) -> None:
    """A second graph beside the first, with no edge between, changes nothing; taking all edges away does."""
    tiny, graph, other = trained(tokenizer), tokenizer.example(), tokenizer.example(seed=1)
    latents = tiny.latents(graph.features, graph.edges)
    features = torch.cat([graph.features, other.features])
    both = tiny.latents(features, torch.cat([graph.edges, other.edges + graph.num_nodes]))
    demand_close((both[: graph.num_nodes],), (latents,), "an unconnected graph changes latents")
    alone = tiny.latents(graph.features, graph.edges[:0])
    demand(not torch.allclose(alone, latents), "without edges the latents are the same")


@node_law
def every_layer_learns(tokenizer: type[NodeTokenizer]) -> None:
    """The losses are finite scalars, and their sum has a finite gradient in every trained parameter, not all zero."""
    tiny, graph = trained(tokenizer).train(), tokenizer.example()
    losses = tiny(graph.features, graph.edges, graph.labels).losses
    for name, loss in losses.items():
        demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"the loss {name} is {loss}")
    sum(losses.values()).backward()
    for name, parameter in tiny.named_parameters():
        if parameter.requires_grad:
            demand(parameter.grad is not None, f"no gradient reaches {name}")
            demand(bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite")
            demand(bool((parameter.grad != 0).any()), f"the gradient of {name} is zero")


@node_law
def state_survives_copies(tokenizer: type[NodeTokenizer]) -> None:
    """A deep copy and another instance that loads the state dict give the same codes and go on training alike."""
    original, graph = trained(tokenizer), tokenizer.example(seed=2)
    copied, loaded = copy.deepcopy(original), tokenizer.tiny(seed=1)
    loaded.load_state_dict(states(original))
    codes = original.encode(graph.features, graph.edges)
    for name, instance in (("deepcopy", copied), ("load_state_dict", loaded.eval())):
        demand(torch.equal(instance.encode(graph.features, graph.edges), codes), f"{name} changes codes")
    after = [states(learn(instance, steps=1)) for instance in (original, copied, loaded)]
    demand(same_state(after[0], after[1]), "training goes on differently after deepcopy")
    demand(same_state(after[0], after[2]), "training goes on differently after load_state_dict")


@node_law
def half_precision_is_finite(tokenizer: type[NodeTokenizer]) -> None:
    """Under bfloat16 autocast a training step stays finite and the latents near float32's."""
    tiny, graph = trained(tokenizer), tokenizer.example()
    expected = tiny.latents(graph.features, graph.edges)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tiny.latents(graph.features, graph.edges).float()
        loss = sum(tiny.train()(graph.features, graph.edges, graph.labels).losses.values())
    loss.backward()
    demand(bool(torch.isfinite(loss)), "the loss is not finite under autocast")
    error = (found - expected).norm() / expected.norm()
    demand(bool(error < 0.05), f"autocast moves the latents by {error:.3f} of their length")


@node_law
def bad_input_is_refused(tokenizer: type[NodeTokenizer]) -> None:
    """What is no graph, and illegal codes, raise ValueError or TypeError; evaluation and refusal change no state."""
    tiny, graph = trained(tokenizer), tokenizer.example()
    features, edges = graph.features, graph.edges
    before, codes = states(tiny), tiny.encode(features, edges)
    broken, column = features.clone(), torch.arange(len(tiny.codebook_sizes)) == 0
    broken[3, 0] = torch.nan
    attempts: dict[str, tuple[Tensor, ...]] = {
        "integer features": (features.long(), edges),
        "a feature too few": (features[:, 1:], edges),
        "NaN": (broken, edges),
        "a node too few": (features[: int(edges.max())], edges),
        "a negative node": (features, edges - edges.max() - 1),
        "edges of three nodes": (features, edges[:, [0, 1, 1]]),
        "float edges": (features, edges.float()),
        "a code of K": (torch.where(column, torch.tensor(tiny.codebook_sizes), codes),),
        "a code of -2": (torch.where(column, -2, codes),),
        "float codes": (codes.float(),),
        "codes without the axis of columns": (codes[:, 0],),
    }
    for name, given in attempts.items():
        for attempt in (
            (tiny.decode,) if len(given) == 1 else (tiny.encode, tiny, copy.deepcopy(tiny).train())
        ):
            demand_refusal(name, partial(attempt, *given))
    demand(same_state(before, states(tiny)), "evaluation mode or refused input changed the state")
