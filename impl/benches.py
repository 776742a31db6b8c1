"""Small fixed problems on which quantizers are compared: same data, networks, steps and seeds for each.

A claim is worth something when its baseline ran under the same conditions; these functions are the
conditions.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl import metrics
from impl.data.images import digits
from impl.data.titles import CLASSES, titles
from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder
from impl.quantizers.adam import adam
from impl.quantizers.base import Quantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.training import train

DIGIT_TOKENS = 4


class Score(NamedTuple):
    """What a quantizer reached on a bench, on held-out data.

    Attributes:
        error: mean squared error a pixel (or, of `normalised_error`, a share of the variance).
        usage: share of the codes in use, averaged over codebooks.
        perplexity: of the code distribution, averaged over codebooks.
        bits: a sample.
    """

    error: float
    usage: float
    perplexity: float
    bits: float


def digits_autoencoder(
    make: Callable[[], Quantizer],
    steps: int = 800,
    seed: int = 0,
    around: type[ImageAutoencoder] = ImageAutoencoder,
) -> Score:
    """Train an autoencoder of handwritten digits around a quantizer and score it on held-out digits.

    An image of 8 x 8 pixels becomes 4 tokens through fully connected networks; Adam at 1e-3, 128 images a
    step, the quantizer's own losses added as they are. About two seconds a run on one core.

    Args:
        make: builds the quantizer; called after the seed is set.
        steps: of training.
        seed: of the weights and of the batches.
        around: the class of the autoencoder, where a method has an objective of its own.
    """
    torch.manual_seed(seed)
    quantizer = make()
    return score(_trained(quantizer, quantizer.dim, steps, seed, around), digits("test"))


@torch.no_grad()
def digits_features(dim: int = 8, steps: int = 800, seed: int = 0) -> Tensor:
    """Return features (N, dim) of the 4 tokens of each training digit from an encoder that was trained before.

    The encoder is that of `digits_autoencoder`, trained without a quantizer: the offline stand-in for the pretrained
    vision encoders whose features some methods cluster.
    """
    torch.manual_seed(seed)
    with torch.enable_grad():
        model = _trained(None, dim, steps, seed)
    return model.latents(digits("train")).reshape(-1, dim)


def _trained(
    quantizer: Quantizer | None,
    dim: int,
    steps: int,
    seed: int,
    around: type[ImageAutoencoder] = ImageAutoencoder,
) -> ImageAutoencoder:
    shape = {"channels": 1, "side": 8, "dim": dim, "tokens": DIGIT_TOKENS}
    model = around(quantizer, PerceptronEncoder(**shape), PerceptronDecoder(**shape))
    train(model, digits("train"), steps=steps, batch_size=128, learning_rate=1e-3, seed=seed, progress=False)
    return model.eval()


@torch.no_grad()
def score(model: ImageAutoencoder, images: Tensor) -> Score:
    """Score a trained autoencoder on images (N, C, H, W)."""
    output, sizes = model(images), model.quantizer.codebook_sizes
    return Score(
        metrics.mse(output.reconstruction, images),
        float(metrics.codebook_usage(output.codes, sizes).mean()),
        float(metrics.perplexity(output.codes, sizes).mean()),
        metrics.bits_per_sample(sizes, output.codes[0, ..., 0].numel()),
    )


def mixture(split: str = "train", dim: int = 32, components: int = 50) -> Tensor:
    """Draw a mixture of clusters of one elongated, heavy-tailed shape: the data on which rotations, local transforms
    and sums of codewords show most.

    Centres are Laplace(1); around them 0.7 times Laplace(1) noise goes through a fixed matrix of N(0, 1/D) entries.

    Args:
        split: "train" (10,000 vectors) or "test" (2,000); the same centres and matrix for both.
        dim: D.
        components: number of centres.

    Returns:
        (N, D) float32.

    Raises:
        ValueError: an unknown split.
    """
    sizes = {"train": 10_000, "test": 2_000}
    if split not in sizes:
        raise ValueError(f'split must be "train" or "test", got {split!r}.')
    generator = torch.Generator().manual_seed(0)

    def laplace(*shape: int) -> Tensor:
        # The difference of two exponential variables is Laplace.
        draws = torch.empty(2, *shape).exponential_(generator=generator)
        return draws[0] - draws[1]

    centres, shape = laplace(components, dim), torch.randn(dim, dim, generator=generator) / dim**0.5
    generator.manual_seed(1 + list(sizes).index(split))
    chosen = torch.randint(components, (sizes[split],), generator=generator)
    return centres[chosen] + 0.7 * laplace(sizes[split], dim) @ shape


@torch.no_grad()
def normalised_error(
    quantizer: Quantizer, train_vectors: Tensor, test_vectors: Tensor, seed: int = 0
) -> float:
    """Fit a quantizer to vectors (N, D); return the error on others as a share of their spread about the
    training mean.

    0 is exact, 1 is what the mean alone would leave. `seed` is that of the fit.
    """
    quantizer.fit(train_vectors, seed=seed).eval()
    decoded = quantizer.decode(quantizer.encode(test_vectors))
    spread = (test_vectors - train_vectors.mean(dim=0)).square().mean()
    return float((decoded - test_vectors).square().mean() / spread)


def drift(batches: int = 10, speed: float = 0.25) -> list[Tensor]:
    """Return batches of the training mixture whose mean wanders off: a stream on which a fixed codebook falls behind.

    Batch t is 1,000 further vectors of `mixture("train")`, moved by t times a fixed random vector.

    Args:
        batches: how many, 1 to 10.
        speed: standard deviation of that vector's entries; the mixture's own spread is about 1.7 a dimension.

    Raises:
        ValueError: another number of batches.
    """
    if not 1 <= batches <= 10:
        raise ValueError(f"batches must be from 1 to 10, got {batches}.")
    parts = mixture("train").split(1000)[:batches]
    step = speed * torch.randn(parts[0].shape[1], generator=torch.Generator().manual_seed(3))
    return [part + index * step for index, part in enumerate(parts)]


def turning(batches: int = 10, speed: float = 0.01) -> list[Tensor]:
    """Return batches of the training mixture that turn about the origin: a stream that leaves a fixed rotation behind.

    Batch t is 1,000 further vectors of `mixture("train")` times exp(t S), with a fixed random skew-symmetric S.

    Args:
        batches: how many, 1 to 10.
        speed: S is G - G' with entries of G of this standard deviation; at 0.01 a batch turns its fastest plane by
            about 9 degrees.

    Raises:
        ValueError: another number of batches.
    """
    if not 1 <= batches <= 10:
        raise ValueError(f"batches must be from 1 to 10, got {batches}.")
    parts = mixture("train").split(1000)[:batches]
    width = parts[0].shape[1]
    draw = speed * torch.randn(width, width, generator=torch.Generator().manual_seed(3))
    return [part @ torch.matrix_exp(index * (draw - draw.T)) for index, part in enumerate(parts)]


TITLE_DIM = 32
TITLE_FOLDS = 5


def title_accuracy(make: Callable[[int], nn.Module], seed: int = 0) -> float:
    """Return the accuracy with which titles of the catalog are classified through a table of word embeddings.

    A title is the mean of its words' embeddings, and a linear classifier names its class; table and classifier are
    learned together, 100 steps of Adam at 1e-2. Each title is held out once, in one of five folds.

    Args:
        make: builds the table for a number of words; called after the seed is set. It maps words (...) to embeddings
            (..., 32), or to an output with `latents` and `losses`. What it has under `export()`, if anything, is
            scored in its place.
        seed: of the weights and of the batches. The folds are always the same.
    """
    data = titles()
    folds = torch.randperm(len(data.words), generator=torch.Generator().manual_seed(0)) % TITLE_FOLDS
    right = 0
    for fold in range(TITLE_FOLDS):
        torch.manual_seed(seed)
        table, classifier = make(len(data.vocabulary)), nn.Linear(TITLE_DIM, len(CLASSES))
        words, labels = data.words[folds != fold], data.labels[folds != fold]

        def loss(rows: Tensor, words: Tensor = words, labels: Tensor = labels) -> Tensor:
            means, losses = _mean_embeddings(table, words[rows])  # noqa: B023 (used before the next fold)
            return F.cross_entropy(classifier(means), labels[rows]) + sum(losses.values())  # noqa: B023

        parameters = [*table.parameters(), *classifier.parameters()]
        adam(parameters, loss, len(words), 100, batch_size=64, learning_rate=1e-2, seed=seed)
        kept = table.export() if hasattr(table, "export") else table
        with torch.no_grad():
            means, _ = _mean_embeddings(kept.eval(), data.words[folds == fold])
            right += int((classifier(means).argmax(dim=1) == data.labels[folds == fold]).sum())
    return right / len(data.words)


def _mean_embeddings(table: nn.Module, words: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean embeddings (B, 32) of words (B, L), in which 0 is none, and the table's losses."""
    there = words > 0
    output = table(words[there])
    embedded, losses = (output, {}) if isinstance(output, Tensor) else (output.latents, output.losses)
    spread = embedded.new_zeros(*words.shape, TITLE_DIM).masked_scatter(there[..., None], embedded)
    return spread.sum(dim=1) / there.sum(dim=1, keepdim=True), losses


def class_reader(images: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit a linear classifier to images (N, ...) and labels (N,); return the function that reads labels off images.

    What a generator of classes is scored with: the share of its samples in which the class asked for is read.
    """
    from sklearn.linear_model import LogisticRegression  # here: a second that few benches need

    reader = LogisticRegression(max_iter=500, C=0.1).fit(images.flatten(1).numpy(), labels.numpy())
    return lambda samples: torch.from_numpy(reader.predict(samples.flatten(1).numpy()))
