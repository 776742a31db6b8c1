"""Sentence vectors: scikit-learn's numbers by hand, the same for the same texts, like for like."""

import numpy as np
import pytest
import torch

from impl.data.sentences import sentence_vectors

TEXTS = [
    "red apple pie",
    "green apple pie",
    "red apple",
    "fast motor car",
    "slow motor car",
    "motor pie",
    "the of",
]


def test_by_hand():
    """TF-IDF written again, and its singular vectors: cosines agree whatever the signs."""
    words = ["apple", "car", "motor", "pie", "red"]
    counts = np.array([[text.split().count(word) for word in words] for text in TEXTS], dtype=float)
    weights = counts * (np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(0))) + 1)
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(weights / np.where(norms > 0, norms, 1))
    expected = left[:, :3] * values[:3]
    expected = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    vectors = sentence_vectors(TEXTS, 3).double().numpy()
    np.testing.assert_allclose((vectors @ vectors.T)[:6, :6], (expected @ expected.T)[:6, :6], atol=1e-5)


def test_same_texts_same_vectors_and_like_texts_are_near():
    vectors = sentence_vectors(TEXTS, 3)
    assert torch.equal(vectors, sentence_vectors(TEXTS, 3))
    assert vectors[3] @ vectors[4] > 0.99 > 0.5 > vectors[0] @ vectors[3]
    torch.testing.assert_close(vectors[:6].norm(dim=1), torch.ones(6))
    assert not vectors[6].any()


def test_too_many_dimensions_are_refused():
    with pytest.raises(ValueError, match="dim must be from 1 to 4 for 7 texts, got 5"):
        sentence_vectors(TEXTS, 5)
