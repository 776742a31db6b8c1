"""Bulk tokenization: every input once, whatever happens; a damaged one is reported; codes decode to files again."""

import os
import resource

import pytest
import torch

from impl.corpus import bulk, samples, trained
from impl.corpus.shards import read_shard, shards
from impl.data.recordings import read_sound


def rows(folder):
    return [row for path in shards(folder) for row in read_shard(path)]


def run(folder, checkpoint, waves, shard=4):
    job = bulk.start(folder, checkpoint, samples.find([waves], "sound"), shard)
    bulk.tokenize(folder, job, trained.load(checkpoint), progress=False)
    return job


def test_every_input_once_with_the_tokenizers_own_codes(checkpoint, waves, tmp_path):
    run(tmp_path / "codes", checkpoint, waves)
    codec, found = trained.load(checkpoint), rows(tmp_path / "codes")
    assert [row.source for row in found] == sorted(str(path) for path in waves.iterdir())
    for row in found:
        waveform, _ = read_sound(row.source)
        assert row.length == (waveform.shape[1],)
        assert torch.equal(torch.from_numpy(row.codes), codec.encode(waveform[None])[0])


def test_a_killed_run_goes_on_with_nothing_lost_or_doubled(checkpoint, waves, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, checkpoint, waves)
    write, calls = bulk.write_shard, []

    def dying(path, *arguments):
        calls.append(path)
        if len(calls) == 2:
            # What a kill in the middle of a shard leaves: token arrays, no Parquet file.
            path.with_suffix(".bin").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, *arguments)

    monkeypatch.setattr(bulk, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        run(cut, checkpoint, waves)
    monkeypatch.undo()
    assert len(list(shards(cut))) == 1
    before = (cut / "shard-00000.parquet").stat().st_mtime_ns
    run(cut, checkpoint, waves)
    assert (cut / "shard-00000.parquet").stat().st_mtime_ns == before
    assert {path.name for path in cut.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.glob("shard-*"):
        assert path.read_bytes() == (cut / path.name).read_bytes()


def test_a_damaged_input_is_reported_and_the_others_are_done(checkpoint, waves, tmp_path):
    content = (waves / "3.wav").read_bytes()
    (waves / "3.wav").write_bytes(content[: len(content) // 2])
    (waves / "4.wav").write_bytes(b"")
    run(tmp_path / "codes", checkpoint, waves)
    failed = bulk.failures(tmp_path / "codes")
    assert [source[-5:] for source, _ in failed] == ["3.wav", "4.wav"]
    assert "cut at" in failed[0].error
    assert sum(row.codes is not None for row in rows(tmp_path / "codes")) == 8


def test_files_come_back_as_long_as_they_were(checkpoint, waves, tmp_path):
    run(tmp_path / "codes", checkpoint, waves)
    codec = bulk.load_for(tmp_path / "codes", checkpoint)
    assert bulk.detokenize(tmp_path / "codes", tmp_path / "back", codec, progress=False) == 10
    back = sorted((tmp_path / "back").iterdir())
    assert [path.name for path in back][:2] == ["000000-0.wav", "000001-1.wav"]
    for path, original in zip(back, sorted(waves.iterdir()), strict=True):
        assert read_sound(path)[0].shape == read_sound(original)[0].shape


def test_a_folder_of_another_job_is_left_alone(checkpoint, waves, tmp_path):
    run(tmp_path / "codes", checkpoint, waves)
    (waves / "9.wav").unlink()
    with pytest.raises(ValueError, match="other inputs"):
        run(tmp_path / "codes", checkpoint, waves)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    with pytest.raises(ValueError, match="other weights"):
        bulk.load_for(tmp_path / "codes", other)
    (tmp_path / "codes" / "job.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        run(tmp_path / "codes", checkpoint, waves)
    with pytest.raises(ValueError, match="no shards"):
        bulk.detokenize(waves, tmp_path / "back", trained.load(checkpoint), progress=False)


def test_two_workers_of_a_cluster_make_the_same_shards(checkpoint, waves, tmp_path):
    ray = pytest.importorskip("ray")
    from impl.corpus import cluster

    run(tmp_path / "here", checkpoint, waves)
    job = bulk.start(tmp_path / "there", checkpoint, samples.find([waves], "sound"), 4)
    try:
        cluster.tokenize(tmp_path / "there", job, checkpoint, "local", workers=2)
        # Nothing is left to do for a second call.
        cluster.tokenize(tmp_path / "there", job, checkpoint, "local", workers=2)
    finally:
        ray.shutdown()
    for path in (tmp_path / "here").glob("shard-*"):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()


@pytest.mark.claim
@pytest.mark.long
def test_ten_thousand_files_do_not_grow_memory(checkpoint, waves, tmp_path):
    """The process's largest size after 1,000 files is that after 10,000, but for some megabytes. Files are links."""
    many = tmp_path / "many"
    many.mkdir()
    originals = sorted(waves.iterdir())
    for index in range(10_000):
        os.link(originals[index % 10], many / f"{index:05}.wav")
    peaks, write = [], bulk.write_shard

    def counting(*arguments):
        write(*arguments)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "write_shard", counting)
        run(tmp_path / "codes", checkpoint, many, shard=100)
    assert len(peaks) == 100 and len(rows(tmp_path / "codes")) == 10_000
    assert peaks[-1] - peaks[9] < 32, peaks
