"""Titles of the catalog as words: numbers and words agree, classes follow modalities."""

import re

import survey
from impl.data.titles import CLASSES, titles


def test_words_spell_the_titles():
    data, works = titles(), sorted(survey.load().works, key=lambda work: work.id)
    assert len(data.words) == len(data.labels) == len(works)
    for row, work in zip(data.words.tolist(), works, strict=True):
        spelt = [data.vocabulary[number] for number in row if number]
        assert spelt == re.findall(r"[a-z0-9]+", work.title.lower()) and spelt
        assert row == sorted(row, key=lambda number: number == 0)  # nothing after the end


def test_classes_follow_the_modalities():
    data, works = titles(), sorted(survey.load().works, key=lambda work: work.id)
    names = list(CLASSES)
    for label, work in zip(data.labels.tolist(), works, strict=True):
        if {"audio", "speech", "music"} & set(work.modalities):
            assert names[label] == "sound"
        elif {"image", "video"} & set(work.modalities):
            assert names[label] == "pictures"
        else:
            assert names[label] == "other"
    assert (data.labels.bincount(minlength=3) > 50).all()
