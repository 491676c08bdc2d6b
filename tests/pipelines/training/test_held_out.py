"""Held-out images: by their keys alone, and about as many as wanted."""

from __future__ import annotations

from pipelines.training.held_out import is_held_out

KEYS = [f"image-{number}" for number in range(4000)]


def test_about_the_fraction_is_held_out() -> None:
    assert 0.18 < sum(is_held_out(key, 0.2) for key in KEYS) / len(KEYS) < 0.22
    assert not any(is_held_out(key, 0.0) for key in KEYS)
    assert all(is_held_out(key, 1.0) for key in KEYS)


def test_more_held_out_images_keep_those_that_were() -> None:
    few, many = ({key for key in KEYS if is_held_out(key, fraction)} for fraction in (0.05, 0.1))
    assert few < many


def test_the_held_out_images_stay_the_same_ones() -> None:
    assert [number for number in range(40) if is_held_out(f"image-{number}", 0.2)] == [1, 6, 21, 28]
