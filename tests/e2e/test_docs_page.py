"""The API page in a real browser, as it is and below a proxy's path prefix."""

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser import browser, missing
from tests.e2e.test_page import log, requests, value, wait_for
from tests.running import Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


@pytest.fixture(scope="module")
def page() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@contextlib.contextmanager
def proxy(service: str, prefix: str) -> Iterator[str]:
    """The service below a path; elsewhere, nothing."""

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            with urllib.request.urlopen(service + self.path.removeprefix(prefix)) as answer:
                self.send_response(answer.status)
                for name in ("content-type", "content-security-policy"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()


def text(page: Chrome, of: str) -> str:
    return str(value(page, f"document.getElementById('{of}').innerText"))


def opened(page: Chrome, url: str) -> None:
    list(requests(page))  # those of the page before
    page.get(f"{url}/docs")
    wait_for(page, "document.getElementById('get/metrics')", seconds=10)


def test_every_route_is_shown_with_its_parameters_and_a_line_to_type(
    page: Chrome, service: Running
) -> None:
    opened(page, service.url)
    history = text(page, "get/v1/cameras/{name}/history")
    for says in ("limit", "1 to 100000", "default: an hour ago", "in path", "history_failed"):
        assert says in history
    assert f"curl '{service.url}/v1/cameras/{{name}}/history'" in history
    assert value(page, "document.querySelectorAll('nav a').length") == value(
        page, "document.querySelectorAll('section').length"
    )


def test_a_body_is_shown_with_its_fields_and_an_example(page: Chrome, service: Running) -> None:
    opened(page, service.url)
    put = text(page, "put/v1/cameras/{name}")
    for says in ("zones", "polygon", "source required", "number, over 0 to 3600 = 5", "201"):
        assert says in put
    assert """-d '{"source":"rtsp://10.0.0.7/stream1",""" in put
    assert "image/webp" in text(page, "post/v1/count")


def test_only_the_service_is_asked_and_nothing_is_wrong_in_the_console(
    page: Chrome, service: Running
) -> None:
    log(page, "browser")
    opened(page, service.url)
    assert {urlsplit(url).netloc for url in requests(page)} == {urlsplit(service.url).netloc}
    assert [line for line in log(page, "browser") if line["level"] == "SEVERE"] == []


def test_it_works_below_a_path_prefix(page: Chrome, service: Running) -> None:
    with proxy(service.url, "/throng") as url:
        opened(page, url)
        assert f"{url}/v1/count" in text(page, "post/v1/count")
        assert {urlsplit(asked).path.split("/")[1] for asked in requests(page)} == {"throng"}


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_drawn_in_the_colours_of_the_readers_system(
    page: Chrome, service: Running, scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(page, service.url)
    ground = value(page, "getComputedStyle(document.body).backgroundColor")
    assert ground == {"dark": "rgb(10, 14, 19)", "light": "rgb(246, 248, 250)"}[scheme]
