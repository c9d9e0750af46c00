"""The report in a real browser, on a phone's screen and on a desk's."""

import json
import re
import shutil
import subprocess

import pytest

from evaluation.report import build_report
from tests.evaluation.report.synthetic_study import write_study
from tests.evaluation.report.test_report import show
from tests.input_pipeline.media_fixtures import write_clip

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# Appended to the report: tells the page around it what it finds.
PROBE = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  inner: innerWidth,
  scroll: document.scrollingElement.scrollWidth,
  images: [...document.images].map(image => image.complete && image.naturalWidth > 0),
  wide: [...document.images].filter(i => i.getBoundingClientRect().width > innerWidth).length,
}), "*"));</script>"""
# The page around it, because Chromium's windows have a least width and frames have none.
AROUND = """<pre id="found"></pre>
<script>addEventListener("message", e => document.getElementById("found").textContent = e.data)
</script><iframe src="{url}" width="{width}" height="800" style="border:0"></iframe>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("study"), questions=60)
    show(folder, write_clip(folder / "clip.mp4", frames=50, size=(320, 180)))
    page = folder / "probed.html"
    page.write_text(build_report(folder, folder).read_text().replace("</body>", f"{PROBE}</body>"))
    return page


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_opens_at_this_width(report, width, tmp_path):
    around = tmp_path / "around.html"
    around.write_text(AROUND.format(url=report.as_uri(), width=width))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900"]
    done = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", around.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert match, done.stderr
    found = json.loads(match[1])
    assert found["inner"] == width
    assert found["scroll"] <= found["inner"]
    assert len(found["images"]) > 50 and all(found["images"])
    assert found["wide"] == 0
    assert "CONSOLE" not in done.stderr
