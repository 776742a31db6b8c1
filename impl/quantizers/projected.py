"""A codebook that is a frozen table seen through one trainable linear layer, whatever the table is."""

from typing import ClassVar

from torch import Tensor, nn

from impl.quantizers.nearest import NearestCodeword


class ProjectedCodebook(NearestCodeword):
    """Nearest codeword of the table C W' + b, with C (K, F) frozen and W (D, F), b trained.

    One selected code moves W, and W moves all codes.

    Args:
        dim: D, width of latents and codewords.
        frozen: C, (K, F); kept as a buffer, so that no optimizer and no weight decay touches it.
        commitment_weight: beta.

    Raises:
        ValueError: a table that is not a matrix.
    """

    part_of: ClassVar[str] = "the shared part of quantizers with a linearly reparameterised codebook"
    frozen: Tensor

    def __init__(self, dim: int, frozen: Tensor, commitment_weight: float = 0.25) -> None:
        if frozen.ndim != 2:
            raise ValueError(f"frozen must be a table (K, F), got shape {tuple(frozen.shape)}.")
        super().__init__(dim, len(frozen), commitment_weight)
        self.register_buffer("frozen", frozen.detach().clone())
        self.projection = nn.Linear(frozen.shape[1], dim)

    def codewords(self) -> Tensor:
        """Return the frozen table through the linear layer, (K, D)."""
        return self.projection(self.frozen)
