"""The live page in a real browser: what a person at the screen sees."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser import browser, missing
from tests.fakes import video
from tests.running import Running, serving, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

INK = """
const canvas = document.querySelector('[data-role="sparkline"]');
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return pixels.filter((value, index) => index % 4 === 3 && value > 0).length;
"""


@pytest.fixture(scope="module")
def page(service: Running) -> Iterator[Chrome]:
    with browser() as driver:
        driver.get(f"{service.url}/")
        yield driver


def value(page: Chrome, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def part(role: str) -> str:
    return f"document.querySelector('[data-role=\"{role}\"]')"


def card(page: Chrome, attribute: str) -> Any:
    return value(page, f"document.querySelector('.card[data-camera=demo]')?.dataset.{attribute}")


def told(running: Running, key: str) -> Any:
    """By the last reading; an OSError while there is none."""
    return json.loads(running.get("/v1/cameras/demo/latest"))[key]


def wait_for(page: Chrome, expression: str, *, seconds: float) -> None:
    wait_until(lambda: bool(value(page, expression)), seconds=seconds, what=expression)


def test_the_demo_is_live_and_its_count_is_shown(page: Chrome) -> None:
    wait_until(lambda: card(page, "state") == "live", seconds=15, what="a live card")
    wait_for(page, f"Number({part('count')}.textContent) > 0", seconds=10)
    assert value(page, "document.body.dataset.connection") == "live"
    assert value(page, f"{part('state')}.textContent") == "live"
    assert card(page, "stale") == "false"
    wait_for(page, f"Number({part('total')}.textContent) > 0", seconds=5)


def test_the_pace_is_shown_and_a_slow_one_is_not_called_none(page: Chrome) -> None:
    wait_for(page, f"/^· [0-9.]+ fps$/.test({part('fps')}.textContent)", seconds=10)
    assert value(page, f"{part('fps')}.offsetParent !== null")
    paces = "import('/page/format.js').then((it) => [0, 0.05, 0.5, 2, 12.4].map(it.perSecond))"
    assert value(page, paces) == ["", "· 0.05 fps", "· 0.5 fps", "· 2.0 fps", "· 12 fps"]


def test_the_count_changes_as_the_crowd_does(page: Chrome) -> None:
    seen: set[str] = set()

    def changed() -> bool:
        seen.add(value(page, f"{part('count')}.textContent"))
        return len(seen - {"–"}) >= 2

    wait_until(changed, seconds=30, what="another count")


def test_a_picture_is_shown(page: Chrome) -> None:
    wait_for(page, f"{part('picture')}.naturalWidth > 0", seconds=10)
    assert value(page, f"{part('picture')}.parentElement.dataset.empty") == "false"


def test_the_sparkline_is_drawn(page: Chrome) -> None:
    wait_for(page, f"{part('sparkline')}.ariaLabel.includes('between')", seconds=10)
    wait_until(lambda: page.execute_script(INK) > 100, seconds=10, what="ink on the canvas")


def test_nothing_is_wrong_in_the_console_and_only_the_service_is_asked(
    page: Chrome, service: Running
) -> None:
    assert [line for line in log(page, "browser") if line["level"] == "SEVERE"] == []
    asked = set(requests(page))
    assert any(url.startswith("ws") for url in asked)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(service.url).netloc}


def log(page: Chrome, kind: str) -> list[dict[str, Any]]:
    return list(page.get_log(kind))  # type: ignore[no-untyped-call]  # selenium has it untyped


def requests(page: Chrome) -> Iterator[str]:
    """Every address the page asked for, as the browser's network log tells it."""
    for line in log(page, "performance"):
        event = json.loads(line["message"])["message"]
        told = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            url = told["request"]["url"]
        elif event["method"] == "Network.webSocketCreated":
            url = told["url"]
        else:
            continue
        if not url.startswith(("blob:", "data:", "chrome")):  # chrome:// is the empty first tab
            yield url


def test_old_numbers_are_not_shown_as_new_once_the_service_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path) as running, browser() as page:
        page.get(f"{running.url}/")
        wait_until(lambda: card(page, "state") == "live", seconds=15, what="a live card")
        wait_for(page, f"Number({part('count')}.textContent) > 0", seconds=10)
        running.process.terminate()
        wait_for(page, "document.body.dataset.connection === 'reconnecting'", seconds=10)
        wait_until(lambda: card(page, "stale") == "true", seconds=10, what="a stale card")
        assert value(page, f"{part('total')}.textContent") == "–"
        assert "stale" in value(page, f"{part('flag')}.textContent")


def test_who_comes_late_sees_the_last_picture_and_how_old_it_is(tmp_path: Path) -> None:
    film = video(tmp_path / "film.mp4", [(0, 100), (600, 100)])
    config = tmp_path / "throng.yaml"
    config.write_text(f"cameras: {{demo: {{source: {film}, rate: 30, stale_after_s: 1}}}}")
    with serving(tmp_path, "--config", str(config)) as running, browser() as page:
        wait_until(lambda: told(running, "seq") == 1, seconds=20, what="its only reading")
        wait_until(lambda: told(running, "state") == "stalled", seconds=10, what="it to stall")
        page.get(f"{running.url}/")
        wait_until(lambda: card(page, "state") == "stalled", seconds=15, what="its card")
        wait_for(page, f"{part('picture')}.naturalWidth > 0", seconds=10)
        wait_for(page, f"{part('picture-note')}.textContent.startsWith('picture from')", seconds=5)
        assert card(page, "stale") == "true"
        assert value(page, f"{part('fps')}.offsetParent") is None  # not on show


def test_zones_are_outlined_where_they_are_counted(tmp_path: Path) -> None:
    config = tmp_path / "throng.yaml"
    corners = "[[0.5, 0], [1, 0], [1, 1], [0.5, 1]]"
    config.write_text(
        f"cameras: {{demo: {{source: demo, zones: {{right: {{polygon: {corners}}}}}}}}}"
    )
    with serving(tmp_path, "--config", str(config)) as running, browser() as page:
        page.get(f"{running.url}/")
        wait_for(page, f"{part('picture')}.naturalWidth > 0", seconds=20)
        picture, zone = (
            value(page, f"{which}.getBoundingClientRect().toJSON()")
            for which in (part("picture"), "document.querySelector('polygon')")
        )
        assert zone["left"] == pytest.approx(picture["left"] + picture["width"] / 2, abs=1)
        assert zone["width"] == pytest.approx(picture["width"] / 2, abs=1)
        assert zone["height"] == pytest.approx(picture["height"], abs=1)
        assert (
            value(page, "getComputedStyle(document.querySelector('polygon')).visibility")
            == "visible"
        )
