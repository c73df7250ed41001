import json
import re
import shutil
from dataclasses import replace

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from synthetic import FAST, SETTINGS, make_results, with_joules, with_metric

from joulemark.report.page import render_page, script_hash

EVIL = "<script>alert(1)</script>"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed (Debian: chromium-driver)"
)


def evil_results():
    settings = [replace(s, technique=EVIL) if s.technique == "binary-weights" else s for s in SETTINGS]
    closing = replace(FAST, technique="</script><b id=injected>", speed=1.5, wrong=3)
    return make_results((*settings, closing), limits=(0.2, 2.0))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_text(render_page(evil_results()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(page):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(lambda d: d.find_elements(By.CSS_SELECTOR, "svg.main-svg"))
        yield driver
    finally:
        driver.quit()


def visible_plots(driver):
    return [plot for plot in driver.find_elements(By.CSS_SELECTOR, ".plot") if plot.is_displayed()]


@needs_browser
def test_the_page_draws_and_asks_the_network_for_nothing(browser):
    plots = visible_plots(browser)
    assert len(plots) == 4  # two trade-offs, one proxy, one set of layers
    for plot in plots:
        assert plot.find_elements(By.CSS_SELECTOR, "svg.main-svg .trace, svg.main-svg .point")
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "conditional-deep-learning" in text
    assert "2.00\N{MULTIPLICATION SIGN}" in text
    assert "no energy counter on this machine" in text
    assert "not valid JSON at byte 12" in text
    assert "modelled accelerator energy (row-stationary) is 2.00x lower" in text

    browser.find_element(By.CSS_SELECTOR, "#provenance summary").click()
    assert "Toy CPU 3000" in browser.find_element(By.ID, "provenance").text
    browser.find_element(By.ID, "download").click()

    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked  # the log works: the page itself is in it
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@needs_browser
def test_names_from_records_stay_inert(browser):
    assert EVIL in browser.find_element(By.TAG_NAME, "main").text
    assert browser.find_elements(By.ID, "injected") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 4
    records = browser.execute_script("return JSON.parse(document.getElementById('records').textContent)")
    assert any(trial["technique"] == "</script><b id=injected>" for trial in records["trials"])


@needs_browser
def test_another_limit_shows_other_boards(browser):
    browser.execute_script("document.querySelector('input[name=limit][value=\"0\"]').click()")
    assert "limit 0.2" in browser.find_element(By.TAG_NAME, "main").text
    assert (
        "nothing is faster here than the baseline within 0.2 points" in browser.find_element(By.TAG_NAME, "main").text
    )
    browser.execute_script("document.querySelector('input[name=limit][value=\"1\"]').click()")
    assert "is 2.00x faster" in browser.find_element(By.TAG_NAME, "main").text


@needs_browser
def test_the_legend_hides_a_technique_everywhere(browser):
    button = browser.find_element(By.CSS_SELECTOR, ".limit:not([hidden]) [data-technique=conditional-deep-learning]")
    shown = (
        "return [...document.querySelectorAll('.limit:not([hidden]) .js-plotly-plot')].flatMap(p => p.data)"
        ".filter(t => t.meta === 'conditional-deep-learning' && t.visible !== false).length"
    )
    before = browser.execute_script(shown)
    button.click()
    assert before > 0
    assert browser.execute_script(shown) == 0
    button.click()
    assert browser.execute_script(shown) == before


@needs_browser
@pytest.mark.parametrize("width", [420, 1280])
def test_nothing_sticks_out_sideways(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    widest = "return Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('.main-svg')]"
    widest += ".filter(svg => svg.checkVisibility()).map(svg => svg.getBoundingClientRect().right))"
    WebDriverWait(browser, 20).until(lambda d: d.execute_script(widest) <= width)  # plots follow a moment later
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_policy_names_exactly_the_two_scripts(page):
    text = page.read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert policy.startswith("default-src 'none'")
    assert "script-src " + " ".join(f"'{script_hash(script)}'" for script in scripts) + ";" in policy
    assert len(scripts) == 2


def test_no_claim_of_saved_energy_without_a_counter():
    text = re.sub(r"<script.*?</script>", "", render_page(make_results()), flags=re.DOTALL)
    assert not re.search(r"saves? energy|kWh|CO2|break-?even|FLOP", text, flags=re.IGNORECASE)


def test_measured_joules_stand_on_the_page():
    text = render_page(with_joules(make_results()))
    assert "fewer measured joules" in text
    assert "no counter was read" not in text


def test_a_page_of_nothing_still_renders():
    empty = msgspec.structs.replace(make_results(), attempts=[], trials=[], failures=[], damaged=[])
    assert "Toy digits" in render_page(empty)


def test_the_page_is_the_same_each_time():
    assert render_page(make_results()) == render_page(make_results())


def test_labels_say_the_level_and_the_rule_that_were_used():
    text = re.sub(r"<script.*?</script>", "", render_page(make_results()), flags=re.DOTALL)
    assert "(98.3 %)" in text  # three settings share the 5 %
    assert "Bonferroni" in text
    assert "where intervals overlap" not in text
    assert "A/A control, the baseline against itself at batch 64" in text


def test_the_page_names_the_metric():
    pages = [
        re.sub(r"<script.*?</script>", "", render_page(results), flags=re.DOTALL)
        for results in (make_results(), with_metric(make_results(), "weighted-f1"))
    ]
    for words in ("Accuracy against cost", "Accuracy of the very objects", "<small>accuracy</small>"):
        assert words in pages[0]
    assert "accuracy" not in pages[1].lower()
    assert "Weighted F1 against cost" in pages[1]
    assert "<small>weighted F1</small>" in pages[1]
