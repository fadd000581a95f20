"""A headless Chromium that talks to nobody but the service."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")  # Debian packages
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str | None:
    """Why there is no browser here, or None where there is one."""
    absent = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    says = "(Debian packages chromium, chromium-driver)"
    return f"no {' and no '.join(absent)} {says}" if absent else None


@contextmanager
def browser(*, width: int = 1440, height: int = 900) -> Iterator[Chrome]:
    """A window of that size with an empty profile. Its console and requests are recorded."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = Chrome(options=options, service=Service(str(DRIVER)))
        try:
            driver.set_page_load_timeout(20)
            driver.set_script_timeout(10)
            # Headless windows have borders too: what counts is the size of the page.
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            )
            yield driver
        finally:
            driver.quit()
