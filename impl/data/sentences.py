"""Sentence vectors without a network: TF-IDF of words, and the directions in which texts vary most."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor


def sentence_vectors(texts: Sequence[str], dim: int = 64) -> Tensor:
    """Return a vector of length 1 for each text: latent semantic analysis, the same for the same texts.

    Words in at least two texts count, English function words do not. A text with none of these has the vector 0.

    Args:
        texts: N of them.
        dim: D, below the number of words that count.

    Returns:
        (N, D) float32.

    Raises:
        ValueError: more dimensions than the texts have, or no word that counts.
    """
    counts = TfidfVectorizer(stop_words="english", min_df=2, sublinear_tf=True)
    weights = counts.fit_transform(texts)
    if not 0 < dim < min(weights.shape):
        raise ValueError(
            f"dim must be from 1 to {min(weights.shape) - 1} for {len(texts)} texts, got {dim!r}."
        )
    # ARPACK from a fixed start, not the randomised method: all its digits are those of the decomposition.
    vectors = TruncatedSVD(dim, algorithm="arpack", random_state=0).fit_transform(weights)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return torch.from_numpy(unit.astype(np.float32))
