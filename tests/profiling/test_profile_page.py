"""The page of a profile: self-contained, escaped, drawn without an error in a browser."""

import json
import re
import shutil

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from joulemark.energy.model import energy_model
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import profile_net
from joulemark.profiling.profile_page import render_profile
from joulemark.profiling.side_by_side import compare

EVIL = "<script>alert(1)</script>"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync")  # fmt: skip
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def profiles():
    models = [energy_model(name) for name in ("row-stationary", "microcontroller")]
    first = msgspec.structs.replace(profile_net(open_net("lenet"), models), net=EVIL)
    return first, profile_net(open_net("exits:build"), models)


@pytest.fixture(scope="module")
def page(profiles, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "profile.html"
    path.write_text(render_profile(profiles, compare(*profiles)), encoding="utf-8")
    return path


def test_nothing_runs_and_nothing_is_asked_for(page, profiles):
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert "://" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert "modelled, not measured" in text
    assert not re.search(r"saves? energy|kWh|CO2|break-?even", text, flags=re.IGNORECASE)
    assert render_profile(profiles[1:]) == render_profile(profiles[1:])


def test_pieces_of_the_longest_bar_fill_it(profiles):
    text = render_profile(profiles[1:])
    widths = [sum(map(float, re.findall(r"width: ([0-9.]+)%", bar))) for bar in text.split('class="stack"')[1:]]
    assert max(widths) == pytest.approx(100, abs=0.1)


@needs_browser
def test_a_browser_draws_it_without_an_error(page):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page.as_uri())
        assert EVIL in driver.find_element(By.TAG_NAME, "h1").text
        assert driver.find_elements(By.TAG_NAME, "script") == []
        bars = driver.find_elements(By.CSS_SELECTOR, ".stack i")
        assert len(bars) > 10
        assert max(bar.size["width"] for bar in bars) > 20
        for width in (420, 1280):
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert asked
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    finally:
        driver.quit()
