"""The page in a real browser without a network: it renders, fits, says nothing in the console, and sorts."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path

import pytest
from matplotlib.image import imread

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Runs in the page: collects what the tests ask about and leaves it in an attribute of the document.
PROBE = """
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message || event.target.src)), true);
addEventListener("securitypolicyviolation", (event) => errors.push("blocked " + event.blockedURI));
addEventListener("load", () => {
  const size = (element) => { const box = element.getBoundingClientRect(); return [box.width, box.height]; };
  const table = document.querySelector("table.sortable");
  const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "Population");
  table.tHead.rows[0].cells[column].querySelector("button").click();
  const order = [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value);
  document.documentElement.dataset.probe = JSON.stringify({
    errors, order,
    figures: [...document.querySelectorAll(".paper svg")].map(size),
    papers: [...document.querySelectorAll(".paper")].map(size),
    page: document.documentElement.scrollWidth, window: innerWidth,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    title: document.title,
  });
});
"""


def flags(profile: Path) -> list[str]:
    return [
        "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
    ]  # fmt: skip


@pytest.fixture(params=[1280, 800])
def seen(request, chromium, report, tmp_path) -> dict:
    """What the browser says of the page at one window width."""
    page = tmp_path / "probed.html"
    page.write_text(report.page.replace("<title>", f"<script>{PROBE}</script><title>", 1))
    done = subprocess.run(
        [chromium, *flags(tmp_path / "profile"), f"--window-size={request.param},900", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    return {**json.loads(unescape(found.group(1))), "width": request.param, "log": done.stderr}


def test_the_page_renders_without_complaint(seen):
    assert seen["title"].endswith("dynaprobe report")
    assert seen["errors"] == []
    assert seen["requests"] == []
    assert "CONSOLE" not in seen["log"]


def test_figures_are_seen_and_nothing_sticks_out(seen, report):
    n_figures = report.page.count('role="img"')
    assert len(seen["figures"]) == n_figures
    assert min(min(size) for size in seen["figures"]) > 100
    assert all(svg[0] <= paper[0] for svg, paper in zip(seen["figures"], seen["papers"], strict=True))
    assert seen["window"] == seen["width"]
    assert seen["page"] <= seen["width"]


def test_a_heading_sorts_the_table_with_gaps_last(seen):
    known = [float(value) for value in seen["order"] if value]
    assert known == sorted(known)
    assert seen["order"][-1] == ""


def test_a_picture_can_be_taken(chromium, report, tmp_path):
    picture = tmp_path / "page.png"
    subprocess.run(
        [chromium, *flags(tmp_path / "profile"), "--window-size=1280,2000",
         f"--screenshot={picture}", report.path.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (2000, 1280)
    assert pixels.std() > 0.05
