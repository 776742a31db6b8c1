"""Labels of vectors, for the quantizers that learn from them."""

from torch import Tensor


def check_labels(labels: Tensor, count: int, num_classes: int) -> None:
    """Check that labels are `count` integers in [0, classes), at least one.

    Raises:
        ValueError: they are not.
    """
    if count == 0 or labels.shape != (count,):
        raise ValueError(
            f"labels must be one a vector, at least one, got {tuple(labels.shape)} for {count} vectors."
        )
    if labels.is_floating_point() or int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        low, high = labels.min().item(), labels.max().item()
        raise ValueError(f"labels must be integers from 0 to {num_classes - 1}, got {low} to {high}.")
