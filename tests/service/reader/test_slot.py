"""Frames through shared memory: whole or not at all, never waiting."""

import os

import numpy as np
import pytest

from service.reader.slot import BUFFERS, Slot
from tests.fakes import solid


@pytest.fixture
def ends() -> tuple[Slot, Slot]:
    """The service's end and the reader's end of one slot."""
    ours = Slot.create(64 * 48)
    return ours, Slot(os.dup(ours.fd), 64 * 48)


def test_what_is_written_is_read(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    theirs.write(solid(7, (48, 64)), 1)
    image_HW3 = ours.read(1, (48, 64))
    assert image_HW3 is not None
    np.testing.assert_array_equal(image_HW3, solid(7, (48, 64)))


def test_what_was_read_stays_although_more_is_written(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    theirs.write(solid(7, (48, 64)), 1)
    image_HW3 = ours.read(1, (48, 64))
    theirs.write(solid(9, (48, 64)), 1 + BUFFERS)
    np.testing.assert_array_equal(image_HW3, solid(7, (48, 64)))


def test_a_frame_that_was_written_over_is_gone_and_not_another_one(
    ends: tuple[Slot, Slot],
) -> None:
    ours, theirs = ends
    for number in range(1, BUFFERS + 2):
        theirs.write(solid(number, (48, 64)), number)
    assert ours.read(1, (48, 64)) is None
    assert ours.read(2, (48, 64)) is not None


def test_frames_may_be_smaller_than_the_slot_and_never_larger(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    theirs.write(solid(5, (16, 24)), 1)
    np.testing.assert_array_equal(ours.read(1, (16, 24)), solid(5, (16, 24)))
    with pytest.raises(ValueError, match="larger than its slot"):
        theirs.write(solid(5, (64, 64)), 2)


def test_both_ends_see_when_something_last_came(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    before_s = ours.packet_s
    theirs.alive()
    assert (ours.packet_s, ours.alive_s > before_s) == (before_s, True)
    theirs.packet()
    assert ours.packet_s > before_s


def test_the_memory_has_no_name_that_could_be_left_behind(ends: tuple[Slot, Slot]) -> None:
    ours, _ = ends
    assert os.fstat(ours.fd).st_nlink == 0
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours.fd)
