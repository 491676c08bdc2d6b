"""Which images show a category at its best and at its worst."""

from __future__ import annotations

import numpy as np

from jobs.report.read.analysis import analyse
from jobs.report.read.examples import BEST, WORST, choose_examples, found_at
from jobs.report.read.split_objects import Source


def test_all_found_is_best_and_missed_is_worst(source: Source):
    analysis = analyse(source, 64)
    found = choose_examples(analysis, 2, range(6))
    assert [(example.category, example.role) for example in found] == [(0, BEST), (1, WORST)] * 2
    assert len({example.image for example in found if example.role == BEST}) == 2


def test_only_images_at_hand_are_chosen(source: Source):
    analysis = analyse(source, 64)
    assert {example.image for example in choose_examples(analysis, 9, {2, 4})} == {2, 4}
    assert choose_examples(analysis, 9, ()) == []


def test_objects_know_the_score_that_finds_them(source: Source):
    assert found_at(analyse(source, 64)).tolist() == [2.0] * 6 + [-np.inf] * 6
