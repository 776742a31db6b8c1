"""Message passing on plain graphs: nodes hear from their neighbours, all alike."""

import torch
from torch import Tensor, nn


class GraphConvolution(nn.Module):
    """A graph convolution: x <- D^(-1/2) (A + I) D^(-1/2) x W + b, with D the degrees, the node itself counted.

    Messages run along the list of edges, so that cost and memory grow with nodes and edges, not with pairs of nodes.

    Args:
        width: features of a node that come in.
        out_width: features that go out.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out_width, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_width))

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return nodes (N, out_width) of nodes (N, width) and undirected edges (E, 2), each listed once."""
        source, target = torch.cat([edges, edges.flip(1)]).unbind(1)
        degrees = torch.ones(len(nodes), device=nodes.device).index_add(
            0, target, torch.ones_like(target) + 0.0
        )
        mapped = self.linear(nodes)
        scale = degrees.rsqrt()[:, None].to(mapped.dtype)
        mapped = mapped * scale
        return mapped.index_add(0, target, mapped[source]) * scale + self.bias
