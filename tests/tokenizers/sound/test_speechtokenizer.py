"""SpeechTokenizer: the distillation by hand, whom its gradient reaches, and what the first codebook then says."""

import pytest
import torch
import torch.nn.functional as F

from impl.data.sound import PHONES, sounds, speech
from impl.tokenizers.sound.encodec import EnCodec
from impl.tokenizers.sound.speechtokenizer import SpeechTokenizer, TeacherTraining, VowelTeacher, distillation
from impl.training import train


def test_distillation_is_the_loop_over_features():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(2, n, 3, generator=generator) for n in (7, 5))
    total = 0.0
    for row in range(2):
        for feature in range(3):
            a, b = ours[row, :5, feature], theirs[row, :, feature]
            total -= torch.sigmoid(a @ b / (a.norm() * b.norm())).log()
    torch.testing.assert_close(distillation(ours, theirs), total / 6)


def test_its_gradient_reaches_encoder_and_projection_alone():
    tokenizer = SpeechTokenizer.tiny().train()
    waveforms = sounds("train", 8, 0.25)
    losses = tokenizer(waveforms).losses
    assert set(losses) == {"balanced", "commitment", "distillation"}
    losses["distillation"].backward()
    reached = {name.split(".")[0] for name, p in tokenizer.named_parameters() if p.grad is not None}
    assert reached == {"encoder", "projection"}
    assert not tokenizer.teacher.training


def test_without_weight_it_trains_like_encodec():
    waveforms, histories = sounds("train", 32, 0.25), []
    for make in (lambda: EnCodec.tiny(0), lambda: SpeechTokenizer(VowelTeacher(), 16, 0.0, **EnCodec.SMALL)):
        torch.manual_seed(0)
        codec = make()
        codec.load_state_dict(EnCodec.tiny(0).state_dict(), strict=False)
        histories.append(train(codec, waveforms, steps=3, batch_size=8, progress=False).losses["balanced"])
    assert histories[0] == histories[1]


def test_content_is_the_first_column():
    tokenizer = SpeechTokenizer.tiny()
    tokenizer.train()(sounds("train", 8, 0.25))
    tokenizer.eval()
    waveforms = sounds("test", 3, 0.25)
    assert torch.equal(tokenizer.content(waveforms), tokenizer.encode(waveforms)[..., 0])


@pytest.fixture(scope="module")
def teacher():
    spoken = speech("train", 768, 0.25, phones=1)
    torch.manual_seed(0)
    teacher = VowelTeacher()
    pairs = list(zip(spoken.waveforms, spoken.phones[:, 0], strict=True))
    train(TeacherTraining(teacher), pairs, steps=150, batch_size=16, learning_rate=3e-3, progress=False)
    return teacher.eval()


def vowel_from_code(codec, level):
    """Return how often the most frequent vowel of a code, counted in training, is right on held-out frames."""
    counts, right = torch.zeros(64, len(PHONES)), None
    for split, count in (("train", 384), ("test", 100)):
        spoken = speech(split, count, 0.5, phones=4)
        with torch.no_grad():
            codes = codec.encode(spoken.waveforms)[..., level]
        vowels = spoken.phones.repeat_interleave(codes.shape[1] // 4, dim=1)
        if split == "train":
            counts += (
                F.one_hot(codes, 64).flatten(0, 1).T @ F.one_hot(vowels, len(PHONES)).flatten(0, 1)
            ).float()
        else:
            right = counts.argmax(dim=1)[codes] == vowels
    return right.float().mean().item()


@pytest.mark.long
@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_the_first_codebook_says_what_was_spoken(teacher, seed):
    """With distillation a frame's first code tells its vowel more often, and more often than the other columns do."""
    waveforms, share = speech("train", 384, 0.5, phones=4).waveforms, {}
    for weight in (0.0, 5.0):
        torch.manual_seed(seed)
        codec = SpeechTokenizer(teacher, VowelTeacher.WIDTH, weight, **EnCodec.SMALL)
        train(codec, waveforms, steps=250, batch_size=4, learning_rate=3e-3, seed=seed, progress=False)
        share[weight] = [vowel_from_code(codec, level) for level in range(4)]
    assert share[5.0][0] > share[0.0][0] + 0.02, share
    assert share[5.0][0] > max(share[5.0][1:]) + 0.1, share
