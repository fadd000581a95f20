"""Who is opened first where all places are taken."""

import asyncio

import pytest

from service.reader.openings import Openings

pytestmark = pytest.mark.anyio


async def opened(openings: Openings, name: str, failing: float, order: list[str]) -> None:
    async with openings.place(failing):
        order.append(name)
        await asyncio.sleep(0.001)


async def test_no_more_are_opened_at_once_than_there_are_places() -> None:
    openings, order = Openings(places=2), list[str]()
    async with openings.place(), openings.place():
        waits = asyncio.create_task(opened(openings, "third", 1.0, order))
        await asyncio.sleep(0.01)
        assert order == []
    await waits
    assert order == ["third"]


async def test_who_has_failed_for_less_time_goes_first_and_equals_go_as_they_came() -> None:
    openings, order = Openings(places=1), list[str]()
    async with openings.place():
        tasks = [
            asyncio.create_task(opened(openings, name, failing, order))
            for name, failing in (("dead", 30.0), ("dead too", 30.0), ("back", 2.0), ("new", 1.0))
        ]
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert order == ["new", "back", "dead", "dead too"]


async def test_who_is_cancelled_while_waiting_takes_no_place_away() -> None:
    openings, order = Openings(places=1), list[str]()
    async with openings.place():
        gone = asyncio.create_task(opened(openings, "gone", 1.0, order))
        stays = asyncio.create_task(opened(openings, "stays", 2.0, order))
        await asyncio.sleep(0.01)
        gone.cancel()
    await stays
    await opened(openings, "later", 1.0, order)
    assert order == ["stays", "later"]


async def test_a_turn_that_comes_as_its_camera_is_cancelled_is_passed_on() -> None:
    openings, order = Openings(places=1), list[str]()
    place = openings.place()
    await place.__aenter__()
    gone = asyncio.create_task(opened(openings, "gone", 1.0, order))
    stays = asyncio.create_task(opened(openings, "stays", 2.0, order))
    await asyncio.sleep(0.01)
    await place.__aexit__(None, None, None)  # the turn is given, and not yet taken
    gone.cancel()
    await asyncio.wait_for(stays, 1)
    assert order == ["stays"]
