"""The laws that every entity quantizer keeps, as functions that anyone can run on a class of their own.

    from impl.checks_entities import check_entity_quantizer
    check_entity_quantizer(MyEntityQuantizer)

They are the laws of `impl.checks` as far as these make sense where codes are read off a graph and not off latents. A
law that a method cannot keep is declared on its class, in `exempt_laws`, with the reason.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from impl.data.graphs import KnowledgeGraph
from impl.laws import Laws, demand, demand_refusal, same_state
from impl.models.graph.link_prediction import LinkPredictor
from impl.quantizers.entities import EntityCodes, EntityQuantizer, tiny_graph

ENTITY_LAWS = Laws()
law = ENTITY_LAWS.register


def check_entity_quantizer(quantizer: type[EntityQuantizer]) -> None:
    """Run every law on `quantizer.tiny()`, but those in its `exempt_laws`.

    Raises:
        LawError: naming all the laws that failed and how, or an exempt law that is unknown.
    """
    ENTITY_LAWS.check(quantizer)


def train_step(quantizer: EntityQuantizer, seed: int = 0) -> Tensor:
    """Take a gradient step of link prediction on 32 training triples of `tiny_graph`; return the loss."""
    graph = tiny_graph()
    torch.manual_seed(seed)
    loss = LinkPredictor(quantizer.train(), graph, 4)(graph.train[:32]).losses["link"]
    gradients = torch.autograd.grad(loss, list(quantizer.parameters()), allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(quantizer.parameters(), gradients, strict=True):
            demand(gradient is None or bool(torch.isfinite(gradient).all()), "a gradient is not finite")
            if gradient is not None:
                parameter -= 0.1 * gradient
    return loss.detach()


def trained(quantizer: type[EntityQuantizer]) -> EntityQuantizer:
    """Return the tiny instance after a few steps, since no law should hold only at initialisation."""
    torch.manual_seed(0)
    tiny = quantizer.tiny()
    for step in range(3):
        train_step(tiny, step)
    return tiny.eval()


def everything(quantizer: EntityQuantizer) -> EntityCodes:
    """Codes of all entities."""
    return quantizer.encode(torch.arange(quantizer.num_entities))


@law
def entity_codes_are_legal(quantizer: type[EntityQuantizer]) -> None:
    """Codes are int64 in [0, K_m), weights finite and not negative, both (..., M); each entity has some codeword."""
    tiny = trained(quantizer)
    given = torch.arange(24).reshape(4, 6)
    codes, weights = tiny.encode(given)
    sizes = torch.tensor(tiny.codebook_sizes)
    demand(codes.dtype == torch.int64, f"codes are {codes.dtype}")
    demand(codes.shape == weights.shape == (4, 6, len(sizes)), f"codes have shape {tuple(codes.shape)}")
    demand(bool(((codes >= 0) & (codes < sizes)).all()), "a code is out of range")
    demand(bool((torch.isfinite(weights) & (weights >= 0)).all()), "a weight is negative or not finite")
    demand(bool((everything(tiny).weights > 0).any(dim=1).all()), "an entity is composed of nothing")
    words, kept = tiny.codewords()
    demand(words.shape == kept.shape and len(words) == tiny.num_entities, "codewords are not (N, m)")


@law
def forward_is_decode_and_propagate(quantizer: type[EntityQuantizer]) -> None:
    """In evaluation mode forward() is propagate(decode(encode(all entities))), (N, D) and (R, D / 2), finite."""
    tiny = trained(quantizer)
    entities, relations = tiny()
    again = tiny.propagate(tiny.decode(everything(tiny)))
    demand(torch.equal(entities, again.entities), "entities are not propagate(decode(encode(all)))")
    demand(torch.equal(relations, again.relations), "relations are not those of propagate")
    demand(entities.shape == (tiny.num_entities, tiny.dim), f"entities have shape {tuple(entities.shape)}")
    demand(relations.shape == (tiny.num_relations, tiny.dim // 2), f"relations: {tuple(relations.shape)}")
    demand(bool(torch.isfinite(entities).all() and torch.isfinite(relations).all()), "not finite")


@law
def decoding_depends_on_the_codes_alone(quantizer: type[EntityQuantizer]) -> None:
    """Shape, order and company of a batch do not matter, nor what stands in a column of weight 0."""
    tiny = trained(quantizer)
    codes, weights = everything(tiny)
    found = tiny.decode(EntityCodes(codes, weights))
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(1))
    shuffled = tiny.decode(EntityCodes(codes[order], weights[order]))
    demand(torch.allclose(shuffled, found[order], atol=1e-6), "the order of the batch changes embeddings")
    alone = tiny.decode(EntityCodes(codes[3], weights[3]))
    demand(torch.allclose(alone, found[3], atol=1e-6), "an entity alone gets another embedding")
    folded = tiny.decode(EntityCodes(codes[:24].reshape(4, 6, -1), weights[:24].reshape(4, 6, -1)))
    demand(
        torch.allclose(folded.reshape(24, -1), found[:24], atol=1e-6),
        "the shape of the batch changes embeddings",
    )
    other = torch.where(weights == 0, torch.tensor(tiny.codebook_sizes) - 1, codes)
    demand(
        torch.equal(tiny.decode(EntityCodes(other, weights)), found), "a column of weight 0 says something"
    )


@law
def parameters_do_not_grow_with_entities(quantizer: type[EntityQuantizer]) -> None:
    """On a graph with more entities `tiny` has as many parameters, and every entity has an embedding."""
    graph = tiny_graph()
    names = (*graph.entities, *(f"isolated {number}" for number in range(50)))
    larger = KnowledgeGraph(names, graph.relations, graph.train, graph.valid, graph.test)
    few, many = (
        sum(p.numel() for p in quantizer.tiny(given).parameters() if p.requires_grad)
        for given in (graph, larger)
    )
    demand(few == many, f"{few} parameters for {graph.num_entities} entities, {many} for {len(names)}")
    entities, _ = quantizer.tiny(larger).eval()()
    demand(entities.shape[0] == len(names) and bool(torch.isfinite(entities).all()), "isolated entities fail")


@law
def training_moves_the_codewords(quantizer: type[EntityQuantizer]) -> None:
    """Steps of link prediction change the parameters and what codes decode to, not the codes; the loss falls."""
    torch.manual_seed(0)
    tiny = quantizer.tiny().eval()
    codes, weights = (part.clone() for part in everything(tiny))
    before = tiny.decode(EntityCodes(codes, weights)).detach().clone()
    first = train_step(tiny)
    for _ in range(30):
        last = train_step(tiny)
    after = everything(tiny.eval())
    demand(
        torch.equal(after.codes, codes) and torch.equal(after.weights, weights), "training changed the codes"
    )
    demand(not torch.equal(tiny.decode(after), before), "no codeword changed in training")
    demand(bool(last < first), f"the loss went from {first:.3f} to {last:.3f}")


@law
def evaluation_changes_nothing(quantizer: type[EntityQuantizer]) -> None:
    """Encode, decode and forward in evaluation mode leave the state as it was, and give the same twice."""
    tiny = quantizer.tiny().eval()
    before = copy.deepcopy(tiny.state_dict())
    first, second = tiny(), tiny()
    demand(torch.equal(first.entities, second.entities), "two evaluations differ")
    demand(same_state(before, tiny.state_dict()), "evaluation mode changed the state")


@law
def same_seed_same_result(quantizer: type[EntityQuantizer]) -> None:
    """Two runs from one seed end in bit-identical states; the codes do not depend on the global generator."""
    first, second = trained(quantizer), trained(quantizer)
    demand(same_state(first.state_dict(), second.state_dict()), "two runs from one seed differ")
    torch.manual_seed(123)
    demand(torch.equal(quantizer.tiny().codes, first.codes), "the global generator changes the codes")


@law
def state_survives_copies(quantizer: type[EntityQuantizer]) -> None:
    """A deep copy, and an instance of another seed that loads the state dict, embed and go on as the original."""
    original = trained(quantizer)
    loaded = quantizer.tiny(seed=7)
    loaded.load_state_dict(original.state_dict())
    states = []
    for instance in (original, copy.deepcopy(original), loaded.eval()):
        states.append([instance().entities, train_step(instance), instance.eval()().entities])
    for name, state in (("deepcopy", states[1]), ("load_state_dict", states[2])):
        same = all(torch.equal(mine, theirs) for mine, theirs in zip(states[0], state, strict=True))
        demand(same, f"{name} changes embeddings or training")


@law
def half_precision_is_finite(quantizer: type[EntityQuantizer]) -> None:
    """Under bfloat16 autocast embeddings and a training step stay finite, and the embeddings near float32's."""
    tiny = trained(quantizer)
    expected = tiny().entities
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tiny().entities.float()
        loss = train_step(copy.deepcopy(tiny))
    demand(bool(torch.isfinite(found).all()) and bool(torch.isfinite(loss)), "not finite under autocast")
    error = (found - expected).norm() / expected.norm()
    demand(bool(error < 0.05), f"autocast moves the embeddings by {error:.3f} of their length")


@law
def bad_input_is_refused(quantizer: type[EntityQuantizer]) -> None:
    """Unknown entities, illegal codes or weights and wrong shapes or types raise ValueError or TypeError."""
    tiny = trained(quantizer)
    codes, weights = tiny.encode(torch.arange(4))
    tall = codes.clone()
    tall[0, 0] = tiny.codebook_sizes[0]
    attempts: dict[str, Callable[[], object]] = {
        "an entity of N": lambda: tiny.encode(torch.tensor([tiny.num_entities])),
        "an entity of -1": lambda: tiny.encode(torch.tensor([-1])),
        "float entities": lambda: tiny.encode(torch.zeros(3)),
        "a code of K": lambda: tiny.decode(EntityCodes(tall, weights)),
        "a code of -1": lambda: tiny.decode(EntityCodes(codes - codes - 1, weights)),
        "float codes": lambda: tiny.decode(EntityCodes(codes.float(), weights)),
        "a column too few": lambda: tiny.decode(EntityCodes(codes[:, 1:], weights[:, 1:])),
        "weights of another shape": lambda: tiny.decode(EntityCodes(codes, weights[:2])),
        "integer weights": lambda: tiny.decode(EntityCodes(codes, codes)),
        "NaN": lambda: tiny.decode(EntityCodes(codes, weights * torch.nan)),
        "an odd width": lambda: quantizer.tiny(dim=7),
    }
    for name, attempt in attempts.items():
        demand_refusal(name, attempt)


@law
def empty_batch_is_exact(quantizer: type[EntityQuantizer]) -> None:
    """No entities give no codes, and no codes no embeddings."""
    tiny = trained(quantizer)
    codes = tiny.encode(torch.zeros(0, 3, dtype=torch.int64))
    demand(codes.codes.shape == (0, 3, len(tiny.codebook_sizes)), f"codes: {tuple(codes.codes.shape)}")
    demand(tiny.decode(codes).shape == (0, 3, tiny.dim), "embeddings of nothing have a wrong shape")


@law
def compiles_without_breaks(quantizer: type[EntityQuantizer]) -> None:
    """torch.compile captures forward as one graph, with the embeddings of eager mode."""
    torch.compiler.reset()
    eager = trained(quantizer)
    expected, found = eager(), torch.compile(copy.deepcopy(eager), backend="aot_eager", fullgraph=True)()
    demand(torch.allclose(found.entities, expected.entities, atol=1e-6), "compiled entities differ")
    demand(torch.allclose(found.relations, expected.relations, atol=1e-6), "compiled relations differ")
