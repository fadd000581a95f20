"""The picture of the live page in the README: `screenshot.py [URL] OUT.png`, 1440 x 900.

Without a URL it starts a service of its own, with the demo scene, and waits for half a minute of
readings.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.browser import browser, missing
from tests.running import serving

READINGS_S = 30.0


@contextmanager
def own_service() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as running:
        yield running.url


def take(url: str, out: Path) -> None:
    with browser(width=1440, height=900) as page:
        page.get(url)
        time.sleep(READINGS_S)
        if not page.save_screenshot(str(out)):
            sys.exit(f"{out}: cannot be written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="a running service; default: one of its own")
    parser.add_argument("out", type=Path)
    wanted = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    if wanted.url:
        take(wanted.url, wanted.out)
    else:
        with own_service() as url:
            take(url, wanted.out)


main()
