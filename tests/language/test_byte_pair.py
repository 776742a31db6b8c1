"""Byte-pair encoding: round trips, an independent implementation, and planted words found again."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from impl.data.trajectories import planted_strokes, stroke_headings
from impl.language.byte_pair import BytePair


def strings(seed, count=40, length=40):
    return stroke_headings(planted_strokes(seed=seed), count, length, seed)[0].tolist()


def test_merges_by_hand():
    # 0 1 occurs three times; then token 3 = (0, 1) stands beside 2 twice; then nothing occurs twice.
    pieces = BytePair(3).fit([[0, 1, 2, 0, 1], [2, 2, 0, 1, 2]], 10)
    assert pieces.merges == [(0, 1), (2, 3)] and pieces.spelled[3:] == [(0, 1), (2, 0, 1)]
    assert pieces.encode([2, 0, 1, 2]) == [4, 2] and pieces.decode([4, 2]) == [2, 0, 1, 2]
    assert pieces.first_tokens([2, 0, 1, 2]) == [4, 3, 1, 2]


def test_overlapping_pairs_merge_from_the_left():
    pieces = BytePair(2).fit([[0, 0, 0, 0, 0]], 3)
    assert pieces.encode([0] * 5) == [2, 2, 0]


@pytest.mark.parametrize("seed", range(3))
def test_decode_inverts_encode_and_prefixes_of_the_merges_nest(seed):
    texts = strings(seed)
    pieces = BytePair(6).fit(texts, 40)
    others = torch.randint(0, 6, (20, 33), generator=torch.Generator().manual_seed(seed)).tolist()
    for text in texts + others:
        assert pieces.decode(pieces.encode(text)) == text
    assert pieces.first_tokens(others[0]) == [pieces.encode(others[0][start:])[0] for start in range(33)]
    tables = [BytePair(6).fit(texts, size) for size in (6, 12, 24, 40)]
    assert all(pieces.merges[: len(table.merges)] == table.merges for table in tables)
    lengths = [sum(len(table.encode(text)) for text in texts) for table in tables]
    assert lengths[0] == 40 * 40 and lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("frequency", "longest"), [(2, None), (5, 6), (20, None)])
def test_it_agrees_with_the_tokenizers_library(frequency, longest):
    texts = strings(3)
    spelled = ["".join("abcdef"[code] for code in text) for text in texts]
    theirs = Tokenizer(BPE())
    options = {"vocab_size": 40, "min_frequency": frequency, "show_progress": False}
    if longest:
        options["max_token_length"] = longest + 1  # theirs counts only pairs shorter than that
    theirs.train_from_iterator(spelled, BpeTrainer(**options))
    ours = BytePair(6).fit(texts, 40, frequency, longest)
    words = {"".join("abcdef"[code] for code in token): index for index, token in enumerate(ours.spelled)}
    assert words == theirs.get_vocab()
    for text in strings(4)[:10]:
        assert ours.encode(text) == theirs.encode("".join("abcdef"[code] for code in text)).ids


def test_limits_are_kept():
    texts = strings(0)
    short = BytePair(6).fit(texts, 40, max_token_length=3)
    assert max(map(len, short.spelled)) == 3
    assert len(BytePair(6).fit(texts, 6)) == 6
    assert len(BytePair(6).fit(texts, 40, min_frequency=10**6)) == 6
    refitted = short.fit(texts, 10)
    assert len(refitted) == 10 and len(refitted.merges) == 4


def test_what_is_not_in_the_vocabulary_is_refused():
    pieces = BytePair(3)
    with pytest.raises(ValueError, match="codes must be from 0 to 2, got 3"):
        pieces.encode([0, 3])
    with pytest.raises(ValueError, match="codes must be from 0 to 2, got -1"):
        pieces.fit([[0, -1]], 5)
    with pytest.raises(ValueError, match="tokens must be from 0 to 2, got 3"):
        pieces.decode([3])
    with pytest.raises(ValueError, match="vocabulary_size must be at least 3, got 2"):
        pieces.fit([[0]], 2)
    with pytest.raises(ValueError, match="num_codes must be at least 1, got 0"):
        BytePair(0)


@pytest.mark.claim
@pytest.mark.parametrize("noisy", [False, True])
def test_planted_strokes_become_whole_tokens(noisy):
    """40 tokens hold at least 4 of 5 planted strokes, also when 3 % of the codes are wrong; shuffled, none."""
    for seed in range(4):
        strokes = planted_strokes(seed=seed)
        texts = stroke_headings(strokes, 60, 50, seed)[0]
        generator = torch.Generator().manual_seed(seed)
        if noisy:
            wrong = torch.rand(texts.shape, generator=generator) < 0.03
            texts = torch.where(wrong, torch.randint(0, 6, texts.shape, generator=generator), texts)
        shuffled = torch.stack([text[torch.randperm(50, generator=generator)] for text in texts])
        pieces, control = (BytePair(6).fit(given.tolist(), 40, 5, 20) for given in (texts, shuffled))
        assert sum(stroke in pieces.spelled for stroke in strokes) >= 4
        assert not any(stroke in control.spelled for stroke in strokes)
        tokens, without = (
            sum(len(table.encode(text)) for text in given.tolist())
            for table, given in ((pieces, texts), (control, shuffled))
        )
        assert texts.numel() / tokens > (4 if noisy else 5) and shuffled.numel() / without < 2.5
