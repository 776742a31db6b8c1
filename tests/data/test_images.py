import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.data import images

EMBEDDED = [images.digits, images.photo_patches, images.patch_vectors]
RELEASED = [images.fashion_mnist, images.fashion_mnist_labels, images.mnist, images.mnist_labels]


@pytest.fixture
def released() -> Path:
    default = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("CODEBOOK_DATA", default))
    if not root.is_dir():
        pytest.skip("no folder with released data")
    return root


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def windows(tensor: torch.Tensor, size: int) -> set[bytes]:
    """Every size x size window of a batch of images, as bytes."""
    views = tensor.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * size**2)
    return {row.tobytes() for row in views.contiguous().numpy()}


@pytest.mark.parametrize("load", EMBEDDED)
@pytest.mark.parametrize("split", images.SPLITS)
def test_embedded_images_are_float32_in_range_and_repeatable(load, split):
    first, second = load(split), load(split)
    assert first.dtype == torch.float32
    assert first.min() >= -1
    assert first.max() <= 1
    assert torch.equal(first, second)


@pytest.mark.parametrize("load", [*EMBEDDED, images.digit_labels])
def test_writing_into_a_returned_tensor_leaves_the_next_one_whole(load):
    before = load("test")
    load("test").zero_()
    assert torch.equal(load("test"), before)


@pytest.mark.parametrize("load", [*EMBEDDED, images.digit_labels, *RELEASED])
def test_an_unknown_split_is_named(load, tmp_path):
    with pytest.raises(ValueError, match=r'split must be "train" or "test", got \'valid\''):
        load("valid")


def test_digits_are_scikit_learns_split_once():
    from sklearn.datasets import load_digits

    train, test = images.digits("train"), images.digits("test")
    assert train.shape == (1400, 1, 8, 8)
    assert test.shape == (397, 1, 8, 8)
    pixels, labels = load_digits(return_X_y=True)
    ours = torch.cat([train, test]).reshape(-1, 64).add(1).mul(8).long()
    theirs = torch.from_numpy(pixels).long()
    our_labels = torch.cat([images.digit_labels("train"), images.digit_labels("test")])
    both = sorted(map(tuple, torch.cat([ours, our_labels[:, None]], 1).tolist()))
    assert both == sorted(map(tuple, torch.cat([theirs, torch.from_numpy(labels)[:, None]], 1).tolist()))


def test_photo_patches_number_1950_less_those_that_straddle():
    train, test = images.photo_patches("train"), images.photo_patches("test")
    assert train.shape == (1480, 3, 32, 32)
    assert test.shape == (308, 3, 32, 32)
    steps = [(length - 32) // 16 + 1 for length in (427, 640)]
    assert 2 * steps[0] * steps[1] == 1950


@pytest.mark.parametrize("size", [16, 32])
def test_no_window_of_a_test_patch_is_in_a_training_patch(size):
    photographs = ("chelsea",)  # no saturated sky, so equal windows would mean the same place
    train = images.photo_patches("train", size, photographs)
    test = images.photo_patches("test", size, photographs)
    assert windows(test, 4).isdisjoint(windows(train, 4))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(20, 400),
    width=st.integers(20, 400),
    size=st.integers(2, 20),
    step=st.integers(1, 16),
)
def test_train_and_test_corners_share_no_pixel_and_stay_inside(height, width, size, step):
    covered = {}
    for split in images.SPLITS:
        covered[split] = np.zeros((height, width), bool)
        for top, left in images._corners(height, width, size, step, split):
            assert top + size <= height
            assert left + size <= width
            covered[split][top : top + size, left : left + size] = True
    assert not (covered["train"] & covered["test"]).any()


@pytest.mark.parametrize("name", list(images.PHOTOGRAPHS))
def test_each_photograph_is_in_colour_and_holds_its_patches(name):
    whole = images.photograph(name)
    assert whole.shape[0] == 3
    assert not torch.equal(whole[0], whole[2])
    patch = images.photo_patches("test", 64, (name,))
    corners = [(top, left) for top in range(0, 512, 32) for left in range(0, 741, 32)]
    assert any(torch.equal(patch[0], whole[:, top : top + 64, left : left + 64]) for top, left in corners)


@pytest.mark.parametrize("size", [1, 0, -3, 129, 3.5, "32"])
def test_a_patch_size_out_of_range_is_named(size):
    with pytest.raises(ValueError, match="size must be a whole number of pixels from 2 to 128"):
        images.photo_patches("train", size)


def test_unknown_or_no_photograph_is_named():
    with pytest.raises(ValueError, match=r"photographs must be among china, .*got 'lena'"):
        images.photo_patches("train", 32, ("china", "lena"))
    with pytest.raises(ValueError, match="at least one"):
        images.photo_patches("train", 32, ())


def test_patch_vectors_are_the_bench_of_10000_and_2000():
    assert images.patch_vectors("train").shape == (10_000, 64)
    assert images.patch_vectors("test").shape == (2_000, 64)
    centred = images.patch_vectors("test", remove_mean=True)
    assert centred.mean(1).abs().max() < 1e-6
    assert centred.var() < 0.3 * images.patch_vectors("test").var()


def test_a_damaged_gzip_file_is_a_value_error(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))
    for broken in (whole[: len(whole) // 2], b"not gzip", b"", whole[:-6] + b"\1\2" + whole[-4:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"gzip|idx"):
            images.fashion_mnist("train", tmp_path)


def test_images_where_labels_belong_are_refused(tmp_path):
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros((3, 2, 2), np.uint8)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match=r"must hold bytes \(N,\)"):
        images.mnist_labels("train", tmp_path)
    with pytest.raises(ValueError, match=r"must hold bytes \(N, height, width\)"):
        images.mnist("train", tmp_path)


@pytest.mark.parametrize("load", RELEASED)
def test_a_missing_folder_or_file_is_one_sentence(load, tmp_path, monkeypatch):
    monkeypatch.delenv("CODEBOOK_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no data folder is known: pass root="):
        load("train")
    with pytest.raises(FileNotFoundError, match="root must name an existing folder, got"):
        load("train", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"none of the files train-.*-ubyte.gz"):
        load("train", tmp_path)
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="CODEBOOK_DATA must name an existing folder"):
        load("train")


def test_the_environment_names_the_data_folder_but_never_a_single_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path))
    array = np.full((2, 28, 28), 255, np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(array))
    with pytest.raises(FileNotFoundError):
        images.fashion_mnist("train")
    assert images.fashion_mnist("train", tmp_path).eq(1).all()
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx(array // 255 * 0))
    )
    assert images.fashion_mnist("train").eq(-1).all()


def test_released_files_are_read(released):
    train, labels = images.fashion_mnist("train", released), images.fashion_mnist_labels("train", released)
    assert train.shape[1:] == (1, 28, 28)
    assert len(train) == len(labels)
    assert labels[:4].tolist() == [9, 0, 0, 3]  # the release opens with a boot, two T-shirts and a dress
    assert train.min() == -1
    assert train.max() == 1
    test = images.mnist("test", released)
    assert test.shape == (10_000, 1, 28, 28)
    assert images.mnist_labels("test", released)[:5].tolist() == [7, 2, 1, 0, 4]
