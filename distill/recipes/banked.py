"""The product students once more: by maps of two larger teachers first, then by labels alone.

The maps come from a bank that `throng-distill bank throng-m-banked` makes before. A bank has fewer
crops than a run sees, so they come again and again: what the maps give shows beside
`throng-m-distilled-alone`, which has the labels of the same crops, and what fresh crops give beside
throng-m.
"""

from dataclasses import replace

from distill.recipes import Recipe, Teacher
from distill.recipes._pack import EVERY
from distill.recipes.throng_m import throng_m_cut, throng_m_whole
from distill.recipes.throng_s import throng_s_first, throng_s_second

TEACHERS = {"wide": Teacher("teacher-wide"), "deep": Teacher("teacher-deep")}


def throng_m_banked() -> Recipe:
    """throng-m-whole by the maps of both teachers, and labels where there are some."""
    return _banked(throng_m_whole())


def throng_m_banked_alone() -> Recipe:
    """throng-m-banked without the maps, by the labels of the same crops."""
    return replace(throng_m_banked(), method="supervised", teachers={})


def throng_m_distilled_alone() -> Recipe:
    """throng-m-banked-alone loses its second block at stride 4 and goes on: the control."""
    return replace(throng_m_cut(), starts_from="throng-m-banked-alone")


def throng_m_distilled() -> Recipe:
    """throng-m-banked loses its second block at stride 4 and goes on with labels."""
    return replace(throng_m_cut(), starts_from="throng-m-banked")


def throng_s_banked() -> Recipe:
    """throng-s-instructed by the maps of both teachers, and labels where there are some."""
    return _banked(throng_s_first())


def throng_s_distilled() -> Recipe:
    """throng-s-banked goes on with labels."""
    return replace(throng_s_second(), starts_from="throng-s-banked")


def _banked(alone: Recipe) -> Recipe:
    return replace(alone, train=EVERY, method="soft", teachers=TEACHERS, bank="bank")
