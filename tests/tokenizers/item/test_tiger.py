"""TIGER's RQ-VAE: its laws, its loss by hand, codes that go from coarse to fine."""

import itertools

import pytest
import torch

from impl.checks_tokenizers import check_tokenizer
from impl.data.files import data_root
from impl.data.interactions import catalog_texts, goodbooks
from impl.data.sentences import sentence_vectors
from impl.metrics import codebook_usage
from impl.tokenizers.item.tiger import ItemRQVAE
from impl.training import train


@pytest.fixture(scope="module")
def vectors():
    return sentence_vectors(catalog_texts())


def trained(vectors, seed, **options):
    torch.manual_seed(seed)
    model = ItemRQVAE(**{**ItemRQVAE.SMALL, **options})
    train(model, vectors, steps=300, batch_size=256, learning_rate=3e-3, seed=seed, progress=False)
    return model.eval()


def test_keeps_the_laws():
    check_tokenizer(ItemRQVAE)


def test_the_loss_is_the_papers():
    """Squares added up over dimensions and stages: ||x - x'||^2 + sum ||sg[r] - e||^2 + 0.25 ||r - sg[e]||^2."""
    model, items = ItemRQVAE.tiny().train(), ItemRQVAE.example(count=40)
    model(items)  # starts the codebooks
    output = model(items)
    residual, commitment, total = model.encoder(items), 0.0, 0.0
    for column, stage in zip(output.codes.T, model.quantizer.stages, strict=True):
        codewords = stage.codewords()[column]
        commitment += (residual - codewords).square().sum(dim=1).mean()
        residual, total = residual - codewords, total + codewords
    torch.testing.assert_close(output.losses["commitment"], 0.25 * commitment)
    torch.testing.assert_close(output.losses["codebook"], commitment)
    expected = (model.decoder(total) - items).square().sum(dim=1).mean()
    torch.testing.assert_close(output.losses["reconstruction"], expected)


def test_the_papers_configuration_is_numbers_only():
    model = ItemRQVAE(768, (512, 256, 128), 32, 256, 3)
    assert [layer.out_features for layer in model.encoder if hasattr(layer, "weight")] == [512, 256, 128, 32]
    assert [layer.out_features for layer in model.decoder if hasattr(layer, "weight")] == [128, 256, 512, 768]
    assert model.codebook_sizes == (256, 256, 256)


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_codes_go_from_coarse_to_fine(vectors, seed):
    """Titles that share codes are alike, the more the more they share; each stage leaves less."""
    model = trained(vectors, seed)
    codes = model.encode(vectors)
    cosines = vectors @ vectors.T
    others = ~torch.eye(len(vectors), dtype=torch.bool)
    alike = [float(cosines[others].mean())]
    for length in (1, 2):
        same = (codes[:, None, :length] == codes[None, :, :length]).all(dim=-1) & others
        alike.append(float(cosines[same].mean()))
    assert alike[1] > alike[0] + 0.2 and alike[2] > alike[1] + 0.1, alike
    residual = model.latents(vectors).detach()
    sizes = [residual.square().sum(dim=1).mean()]
    for stage, column in zip(model.quantizer.stages, codes.T, strict=True):
        residual = residual - stage.codewords()[column].detach()
        sizes.append(residual.square().sum(dim=1).mean())
    assert all(after < before for before, after in itertools.pairwise(sizes)), sizes
    assert codebook_usage(codes, model.codebook_sizes).min() > 0.9


def test_released_books_of_one_author_begin_alike():
    """Of two books by one author, more than half share their first code of 32; of two at random, one in ten at most."""
    try:
        texts = goodbooks(root=data_root()).texts[:3000]
    except FileNotFoundError as error:
        pytest.skip(str(error))
    vectors = sentence_vectors(texts)
    model = trained(vectors, 0, codebook_size=32)
    first = model.encode(vectors)[:, 0]
    names = [text.rsplit(". ", 1)[1] for text in texts]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    authors = torch.tensor([numbers[name] for name in names])
    others = ~torch.eye(len(texts), dtype=torch.bool)
    alike = first[:, None] == first
    together = others & (authors[:, None] == authors)
    assert alike[together].float().mean() > 0.5
    assert alike[others].float().mean() < 0.1
