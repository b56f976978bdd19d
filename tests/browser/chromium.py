"""A headless Chromium with its driver, where the machine has both; nothing is ever downloaded."""

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_BROWSERS, _DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver", "chromium-driver")
_NARROW = 600


class Missing(Exception):
    """No browser: what is missing, and how to get it."""


def start(width: int = 1440) -> "Chrome":
    """Start a browser with a window of this width.

    Raises:
        Missing: selenium, Chromium or its driver is not installed.
    """
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise Missing("selenium is not installed (the dependency group 'test' has it)") from None
    browser, driver = _find(_BROWSERS), _find(_DRIVERS)
    options = ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Both paths are given, so that selenium looks for nothing; the variable keeps it from the network all the same.
    chrome = Chrome(options=options, service=Service(driver, env={**os.environ, "SE_OFFLINE": "true"}))
    resize(chrome, width)
    return chrome


def resize(chrome: "Chrome", width: int, height: int = 900) -> None:
    """Give the window a size in CSS pixels; one narrower than 600 is a phone's."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < _NARROW}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _find(names: tuple[str, ...]) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Missing(f"{names[0]} is not installed (Debian: apt-get install chromium chromium-driver)")
    return found
