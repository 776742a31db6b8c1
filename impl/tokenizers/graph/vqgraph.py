"""VQGraph: a code for every node that names its local structure, and a perceptron that learns to guess it.

Parts: graph convolutions (`networks.message_passing`), vector quantization by angle (`quantizers.cosine`); new are what
the codes must keep (class, features, adjacency) and the distillation of soft code assignments.
"""

from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.node_graphs import NodeGraph
from impl.networks.message_passing import GraphConvolution
from impl.quantizers.cosine import CosineVQ
from impl.tokenizers.graph.nodes import Nodes, NodesTokenized, NodeTokenizer


class VQGraph(NodeTokenizer):
    """VQGraph's tokenizer and teacher (yang2024vqgraph).

    One graph convolution sees a node with its neighbours; what comes out is given the code of the smallest angle. From
    the codeword two linear maps reconstruct the node's features and, by inner products, the adjacency; a second
    convolution over the codewords of the neighbours, and a linear map, name the class.

    Loss: cross-entropy where labels are known, mean squared error of features, root mean squared error of the
    adjacency (inner products scaled to [0, 1]), commitment.

    Args:
        features: F.
        classes: C.
        dim: D, of the codes; in the released model F.
        codebook_size: K.
        hidden: width of the second convolution.
        feature_weight: of the features' reconstruction.
        edge_weight: of the adjacency's reconstruction.
        dropout: of what the first convolution gives.
        pairs_of: nodes, drawn anew for each step, among which the adjacency is reconstructed; all if there are fewer.
    """

    SMALL: ClassVar[dict[str, Any]] = {
        "features": 16,
        "classes": 3,
        "dim": 16,
        "codebook_size": 16,
        "hidden": 32,
    }

    def __init__(
        self,
        features: int,
        classes: int,
        dim: int,
        codebook_size: int,
        hidden: int = 64,
        feature_weight: float = 0.1,
        edge_weight: float = 0.1,
        dropout: float = 0.0,
        pairs_of: int = 1024,
    ) -> None:
        super().__init__()
        self.features, self.feature_weight, self.edge_weight = features, feature_weight, edge_weight
        self.pairs_of = pairs_of
        self.local = GraphConvolution(features, dim)
        self.dropout = nn.Dropout(dropout)
        self.quantizer = CosineVQ(dim, codebook_size)
        self.to_links, self.to_features = nn.Linear(dim, dim), nn.Linear(dim, features)
        self.wider = GraphConvolution(dim, hidden)
        self.head = nn.Linear(hidden, classes)

    def latents(self, features: Tensor, edges: Tensor) -> Tensor:
        """Return what the first convolution makes of each node and its neighbours, (N, D)."""
        return self.local(features, edges).relu()

    def reconstruct(self, latents: Tensor) -> Nodes:
        """Return features (N, F) and link vectors (N, D) of codewords (N, D)."""
        return Nodes(self.to_features(latents), self.to_links(latents))

    def forward(self, features: Tensor, edges: Tensor, labels: Tensor | None = None) -> NodesTokenized:
        """Return reconstruction, codes and losses."""
        self.check_nodes(features, edges)
        quantized = self.quantizer(self.dropout(self.latents(features, edges)))
        nodes = self.reconstruct(quantized.latents)
        losses = {
            "features": self.feature_weight * F.mse_loss(nodes.features, features),
            "edges": self.edge_weight * self._edge_loss(nodes.links, edges),
            **quantized.losses,
        }
        if labels is not None:
            known = labels >= 0
            logits = self._classify(nodes.links, edges)[known]
            losses["classes"] = F.cross_entropy(logits, labels[known])
        return NodesTokenized(nodes, quantized.codes, losses)

    def classify(self, features: Tensor, edges: Tensor) -> Tensor:
        """Return the logits (N, C) of each node's class."""
        return self._classify(self.decode(self.encode(features, edges)).links, edges)

    def similarities(self, features: Tensor, edges: Tensor) -> Tensor:
        """Return the cosine (N, K) of each node with every codeword: its soft code, before a softmax."""
        return self.quantizer.similarities(self.latents(features, edges))

    def _classify(self, links: Tensor, edges: Tensor) -> Tensor:
        return self.head(self.wider(links, edges).relu())

    def _edge_loss(self, links: Tensor, edges: Tensor) -> Tensor:
        if len(links) > self.pairs_of:
            links, edges = subgraph(
                links, edges, torch.randperm(len(links), device=links.device)[: self.pairs_of]
            )
        adjacency = torch.zeros(len(links), len(links), device=links.device)
        adjacency[edges[:, 0], edges[:, 1]] = 1.0
        scores = (links @ links.T).float()
        scaled = (scores - scores.min()) / (scores.max() - scores.min()).clamp(min=1e-12)
        return F.mse_loss(scaled, torch.maximum(adjacency, adjacency.T)).sqrt()


def subgraph(rows: Tensor, edges: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (n, D) of the nodes `kept` (n,) and the edges among them, renumbered."""
    place = torch.full((len(rows),), -1, device=rows.device)
    place[kept] = torch.arange(len(kept), device=rows.device)
    edges = place[edges]
    return rows[kept], edges[(edges >= 0).all(dim=1)]


class Distilled(NamedTuple):
    """What a step of distillation returns: named scalar losses."""

    losses: dict[str, Tensor]


class VQGraphStudent(nn.Module):
    """A perceptron that names a node's class from the node's features alone, and guesses its code on the way.

    Args:
        features: F.
        classes: C.
        dim: D of the teacher's codes.
        hidden: width of the one hidden layer.
        dropout: of the hidden layer.
    """

    def __init__(self, features: int, classes: int, dim: int, hidden: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(hidden, classes)
        self.to_code = nn.Linear(hidden, dim)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return the student of `VQGraph.tiny`."""
        torch.manual_seed(seed)
        return cls(16, 3, 16, hidden=32)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (N, C) and what is compared with the codewords (N, D), of features (N, F)."""
        hidden = self.hidden(features)
        return self.head(hidden), self.to_code(hidden)


class Distillation(nn.Module):
    """The losses by which a teacher, trained on a graph and frozen, teaches a student that sees no edges.

    Called with numbers of nodes (B,). Three losses: cross-entropy on those that are labelled for training, the
    divergence of the student's classes from the teacher's, and that of the student's soft code from the teacher's, both
    softmax(cosine / T) over all K codes, times T^2. With `code_weight=0` this is GLNN (Zhang et al., 2022).

    Args:
        student: learns.
        teacher: trained.
        graph: whose nodes are taught.
        label_weight: of the labels.
        class_weight: of the teacher's classes.
        code_weight: of the teacher's codes.
        temperature: T.
    """

    def __init__(
        self,
        student: VQGraphStudent,
        teacher: VQGraph,
        graph: NodeGraph,
        label_weight: float = 1.0,
        class_weight: float = 1.0,
        code_weight: float = 1.0,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        self.student, self.temperature = student, temperature
        self.label_weight, self.class_weight, self.code_weight = label_weight, class_weight, code_weight
        labels = torch.full_like(graph.labels, -1)
        labels[graph.train] = graph.labels[graph.train]
        with torch.no_grad():
            teacher.eval()
            found = {
                "features": graph.features,
                "labels": labels,
                "logits": teacher.classify(graph.features, graph.edges),
                "codes": teacher.similarities(graph.features, graph.edges),
                "codebook": teacher.quantizer.codewords().detach().clone(),
            }
        for name, tensor in found.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, nodes: Tensor) -> Distilled:
        """Return the losses of nodes (B,)."""
        logits, guessed = self.student(self.features[nodes])
        similar = F.normalize(guessed, dim=1) @ self.codebook.T
        labels = self.labels[nodes]
        # The sum is over labelled nodes; a batch without any has no such loss, and a mean would be no number.
        named = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / (labels >= 0).sum().clamp(
            min=1
        )
        return Distilled(
            {
                "labels": self.label_weight * named,
                "classes": self.class_weight * softened_divergence(logits, self.logits[nodes], 1.0),
                "codes": self.code_weight * softened_divergence(similar, self.codes[nodes], self.temperature),
            }
        )


def softened_divergence(ours: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(theirs / T) || softmax(ours / T)), the mean over rows (N, K)."""
    ours, theirs = ((scores / temperature).log_softmax(dim=1) for scores in (ours, theirs))
    return temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")
