"""The pictures of the README: `screenshot.py PAGE.png HEATMAP.png`, from a service of its own.

The live page at 1440 x 900 after half a minute of the demo, and the demo's density over it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.browser import browser, missing
from tests.running import serving

READINGS_S = 30.0


def take(url: str, out: Path) -> None:
    with browser(width=1440, height=900) as page:
        page.get(url)
        time.sleep(READINGS_S)
        if not page.save_screenshot(str(out)):
            sys.exit(f"{out}: cannot be written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("heatmap", type=Path)
    wanted = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as running:
        take(running.url, wanted.page)
        wanted.heatmap.write_bytes(running.get("/v1/cameras/demo/heatmap.png"))


main()
