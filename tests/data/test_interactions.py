"""Interactions: splits by hand, a simulation whose best recall is known, released files."""

import gzip

import pytest
import torch

import survey
from impl.data.files import data_root
from impl.data.interactions import PADDING, Interactions, catalog_texts, goodbooks, movietweetings, simulated
from impl.data.sentences import sentence_vectors


def test_splits_by_hand():
    data = Interactions(("a", "b", "c", "d", "e"), (torch.tensor([0, 1, 2, 3, 4]), torch.tensor([2, 1, 0])))
    histories, users, targets = data.examples("train", 2).tensors
    assert histories.tolist() == [[0, PADDING], [0, 1]]
    assert (users.tolist(), targets.tolist()) == ([0, 0], [1, 2])
    histories, users, targets = data.examples("valid", 2).tensors
    assert histories.tolist() == [[1, 2], [2, PADDING]]
    assert (users.tolist(), targets.tolist()) == ([0, 1], [3, 1])
    histories, _, targets = data.examples("test", 4).tensors
    assert histories.tolist() == [[0, 1, 2, 3], [2, 1, PADDING, PADDING]]
    assert targets.tolist() == [4, 0]
    with pytest.raises(ValueError, match="split must be train, valid or test, got 'all'"):
        data.examples("all")


def test_texts_of_the_catalog_begin_with_its_titles():
    works = sorted(survey.load().works, key=lambda work: work.id)
    for text, work in zip(catalog_texts(), works, strict=True):
        assert text.startswith(f"{work.title}. ")
        assert all(modality in text for modality in work.modalities)


def test_a_simulated_reader_repeats_nothing_and_follows_the_seed():
    texts = catalog_texts()
    vectors = sentence_vectors(texts)
    data = simulated(texts, vectors, users=50, length=9, seed=1)
    assert all(len(set(sequence.tolist())) == 9 for sequence in data.sequences)
    again, other = (simulated(texts, vectors, users=50, length=9, seed=seed) for seed in (1, 2))
    assert torch.equal(torch.stack(data.sequences), torch.stack(again.sequences))
    assert not torch.equal(torch.stack(data.sequences), torch.stack(other.sequences))
    torch.testing.assert_close(data.chances.sum(dim=1), torch.ones(50))
    taken = torch.stack(data.sequences)[:, :-1]
    assert not data.chances.gather(1, taken).any()
    with pytest.raises(ValueError, match="length must be from 3 to the number of items"):
        simulated(texts, vectors, length=2)


def test_the_simulation_is_neither_trivial_nor_hopeless():
    """Who knows the simulator's probabilities finds 40 to 70% of the next items among ten; popularity less than 20%."""
    texts = catalog_texts()
    data = simulated(texts, sentence_vectors(texts), users=700)
    last = torch.stack(data.sequences)[:, -1:]
    best = (data.chances.topk(10).indices == last).any(dim=1).float().mean()
    torch.testing.assert_close(best, data.chances.topk(10).values.sum(dim=1).mean(), atol=0.05, rtol=0)
    assert 0.4 < best < 0.7
    popular = torch.stack(data.sequences)[:, :-2].flatten().bincount(minlength=len(texts)).topk(10).indices
    assert (last == popular).any(dim=1).float().mean() < 0.2


def write(path, lines):
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_small_released_files(tmp_path):
    """In the order of time; what has too few events goes, and what then has too few."""
    folder = tmp_path / "movietweetings-100k"
    folder.mkdir()
    write(
        folder / "movies.dat.gz",
        ["1::One (1990)::Drama|War", "2::Two (1991)::", "3::Three (1992)::Drama", "4::Four::"],
    )
    ratings = [(u, f, t) for u in (7, 8, 9) for t, f in enumerate([3, 1, 2])] + [
        (6, 4, 1),
        (6, 1, 2),
        (6, 2, 3),
    ]
    write(folder / "ratings.dat.gz", [f"{user}::{film}::8::{time}" for user, film, time in reversed(ratings)])
    data = movietweetings(3, tmp_path)
    assert data.texts == ("One (1990). Drama War", "Two (1991). ", "Three (1992). Drama")
    assert [sequence.tolist() for sequence in data.sequences] == [[2, 0, 1]] * 3
    write(folder / "ratings.dat.gz", ["1::2::3"])
    with pytest.raises(ValueError, match="must have 4 fields a line"):
        movietweetings(3, tmp_path)
    books = tmp_path / "goodbooks"
    books.mkdir()
    write(books / "books.csv.gz", ["book_id,title,authors", '1,"A, B",Ann', "2,C,Ben", "3,D,Cy"])
    assert goodbooks(root=tmp_path) == Interactions(("A, B. Ann", "C. Ben", "D. Cy"), ())
    (books / "ratings.csv").write_text("user_id,book_id,rating\n5,2,5\n5,3,4\n5,1,1\n")
    assert goodbooks(1, tmp_path).sequences[0].tolist() == [1, 2, 0]
    with pytest.raises(FileNotFoundError, match="movies"):
        movietweetings(root=books)


def test_released_files_have_their_published_sizes():
    try:
        films, books = movietweetings(root=data_root()), goodbooks(root=data_root())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert len(books.texts) == 10_000 and books.texts[0].startswith("The Hunger Games")
    counts = torch.cat(films.sequences).bincount(minlength=len(films.texts))
    assert counts.min() >= 5 and min(map(len, films.sequences)) >= 5
    assert 1_000 < len(films.texts) < 2_727 and 1_000 < len(films.sequences) < 4_692
