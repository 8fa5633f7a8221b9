"""The page of an evaluation in a browser: its numbers are the JSON's, its dots the crystals."""

import json
import math
import shutil

import numpy as np
import pytest

from atomprint.evaluation import evaluation_figures
from atomprint.evaluation.report import write_report
from tests.evaluation.folder import write_folder

PHONE = {"width": 390, "height": 844}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium: Playwright's own, or one that the system has."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        paths = [None, *filter(None, map(shutil.which, BROWSERS))]
        for path in paths:
            try:
                found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
            except playwright.Error:
                continue
            yield found
            found.close()
            return
        pytest.skip("no Chromium found: playwright install chromium, or the system's package")


class Opened:
    """A page, what it said on the console, and what it asked for."""

    def __init__(self, browser, path, **options):
        context = browser.new_context(offline=True, **options)
        self.page = context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append("dialog") or dialog.dismiss())
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.url = path.as_uri()

    def cells(self):
        """(key, number, text) of every number that says its place in the JSON."""
        return self.page.eval_on_selector_all(
            "[data-key]", "all => all.map(e => [e.dataset.key, e.dataset.value, e.textContent])"
        )

    def dots(self, cloud, which):
        """Positions of a cloud's dots, in the figure's own units."""
        return np.array(
            self.page.eval_on_selector_all(
                f'[id="cloud-{cloud}-{which}"] use',
                "all => all.map(e => [+e.getAttribute('x'), +e.getAttribute('y')])",
            )
        )

    def clouds(self):
        """Name of the arm of every cloud."""
        return self.page.eval_on_selector_all(
            "details[data-cloud]",
            "all => all.map(e => [e.dataset.cloud, e.querySelector('summary').textContent])",
        )


@pytest.fixture(scope="module", params=["kfold", "curve"])
def folder(request, tmp_path_factory):
    """An evaluation with its page."""
    path = write_folder(tmp_path_factory.mktemp("evaluation") / request.param, request.param)
    add_coverage_and_energy(path)
    write_report(path)
    return path


def add_coverage_and_energy(path):
    """As if the crystals lay outside the corpus of ``my run``, and the machine told of energy."""
    about = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))
    splits = json.loads((path / "splits.json").read_text(encoding="utf-8"))["splits"]
    ids = sorted({id for split in splits for id in split["test"]})
    about["coverage"] = [
        {
            "runs": ["my run"],
            "verdict": "outside",
            "sentence": "Warning, outside the corpus: all of them.",
            "corpus": {"n_corpus": 1234},
            "beyond_95": 1.0,
            "beyond_99": 0.9,
            "auc": 0.97,
            "distances": {id: 0.1 + 0.01 * (int(id[-4:]) * 7 % 31) for id in ids},
        },
        {"runs": ["other"], "verdict": None, "sentence": "Not measured: no file."},
    ]
    about["leakage"] = {"n_leaked": 2, "n_test": 30, "corpus": "mp", "excluded": True, "ids": []}
    (path / "evaluation.json").write_text(json.dumps(about), encoding="utf-8")
    for file in (path / "units").glob("*.json"):
        unit = json.loads(file.read_text(encoding="utf-8"))
        unit["energy"] = {"joules": 100.0 + unit["n_labels"], "note": "the GPU is silent"}
        unit["about"]["seconds_per_crystal"] = 0.001 * unit["n_labels"]
        file.write_text(json.dumps(unit), encoding="utf-8")


@pytest.fixture(scope="module")
def opened(browser, folder):
    one = Opened(browser, folder / "report.html", viewport={"width": 1280, "height": 900})
    yield one
    one.page.context.close()


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def at(value, key):
    """What stands at a place such as ``rows/0/value``."""
    for part in key.split("/"):
        value = value[int(part) if isinstance(value, list) else part]
    return value


def units_of(folder, arm):
    """Units of an arm as the page lists them: the most labels, in the order of the splits."""
    about = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    units = [json.loads(p.read_text(encoding="utf-8")) for p in (folder / "units").glob("*.json")]
    if about["protocol"]["kind"] == "curve":
        most = max(unit["n_labels"] for unit in units)
        units = [unit for unit in units if unit["n_labels"] == most]
    order = [split["name"] for split in about["splits"]]
    return sorted((u for u in units if u["arm"] == arm), key=lambda u: order.index(u["split"]))


def test_numbers_are_those_of_the_json(opened, folder):
    summary = summary_of(folder)
    cells = opened.cells()
    for key, number, text in cells:
        value = at(summary, key)
        assert float(number) == value, key
        # What people read is that number to the digits shown: some shares are in percent.
        scale = 100 if "/gain/" in key or "/share/" in key else 1
        scale = {"joules": 0.001, "seconds_per_crystal": 1000}.get(key.split("/")[-1], scale)
        shown = float(text)
        step = 10.0 ** -len(text.partition(".")[2]) if "e" not in text else abs(shown)
        assert abs(shown - scale * value) <= max(step, 1e-3 * abs(shown)), key
    keys = {key for key, _, _ in cells}
    for place, row in enumerate(summary["rows"]):
        wanted = ["value", "spread", "n_labels", "n_splits", "seconds", "peak_mib", "n_parameters"]
        wanted += ["interval/low", "interval/high", "joules", "seconds_per_crystal"]
        if row["kind"] == "pretrained":
            wanted += ["gain/value", "gain/low", "gain/high", "n_won", "n_compared"]
        assert {f"rows/{place}/{name}" for name in wanted} <= keys
    assert {f"chemistry/{i}/value" for i, row in enumerate(summary["chemistry"])} <= keys or (
        summary["protocol"] == "curve"
    )
    for place, row in enumerate(summary["by_distance"]):
        wanted = [f"bins/{i}/value" for i in range(len(row["bins"]))] + ["correlation/value"]
        assert len(wanted) == 6
        assert {f"by_distance/{place}/{name}" for name in wanted} <= keys
    assert len(summary["by_distance"]) == 4
    if summary["protocol"] == "curve":
        assert {"saved/0/needed/value", "saved/0/share/value"} <= keys
    else:
        splits = [key for key in keys if key.startswith("rows/0/values/")]
        assert len(splits) == 5


def test_the_verdict_comes_first_and_in_full(opened, folder):
    summary = summary_of(folder)
    texts = opened.page.eval_on_selector_all(".verdict", "all => all.map(e => e.textContent)")
    assert texts == summary["verdict"]
    assert "better in" in texts[0]
    tops = opened.page.eval_on_selector_all(
        ".verdict, h2", "all => all.map(e => [e.tagName, e.getBoundingClientRect().top])"
    )
    assert [tag for tag, _ in sorted(tops, key=lambda one: one[1])][: len(texts)] == ["P"] * len(
        texts
    )


def test_what_the_page_says_of_the_corpus(opened, folder):
    assert "my run. Warning, outside the corpus: all of them." in summary_of(folder)["verdict"]
    assert opened.page.locator("p.warning").inner_text() == (
        "my run (1234 corpus crystals). Warning, outside the corpus: all of them."
    )
    text = opened.page.locator("body").inner_text()
    assert "other. Not measured: no file." in text
    assert "2 of 30 judged crystals are in the corpus (mp) and judge nothing." in text
    assert "Energy: the GPU is silent." in text


def test_nothing_comes_from_outside_and_nothing_fails(opened):
    assert opened.said == []
    assert opened.asked == [opened.url]


def test_dots_are_where_the_units_say(opened, folder):
    clouds = opened.clouds()
    assert {arm for _, arm in clouds} == {
        "from scratch", "my run", "composition, random forest", "mean",
    }  # fmt: skip
    for cloud, arm in clouds:
        units = units_of(folder, arm)
        wanted = np.concatenate([np.array(u["wanted"])[:, 0] for u in units])
        predicted = np.concatenate([np.array(u["predicted"])[:, 0] for u in units])
        for which, height in (("parity", predicted), ("residual", predicted - wanted)):
            dots = opened.dots(cloud, which)
            assert len(dots) == len(wanted)
            # Axes are linear: one factor and one offset put all dots where they are.
            for drawn, value, sign in ((dots[:, 0], wanted, 1), (dots[:, 1], height, -1)):
                slope, offset = np.polyfit(value, drawn, 1)
                assert np.sign(slope) == sign
                assert np.abs(slope * value + offset - drawn).max() < 1e-3


def box_in_view(page, dot):
    """Where a dot is on the screen, once the page knows that it was scrolled: it hides hovers."""
    dot.scroll_into_view_if_needed()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return dot.bounding_box()


@pytest.mark.parametrize("which", ["parity", "residual"])
def test_a_dot_says_which_crystal_it_is(opened, folder, which):
    cloud, arm = opened.clouds()[0]
    (unit, *_) = units_of(folder, arm)
    # A dot far from all others, so that no neighbour is meant.
    dots = opened.dots(cloud, which)[: len(unit["ids"])]
    every = opened.dots(cloud, which)
    apart = [np.sort(np.hypot(*(every - dot).T))[1] for dot in dots]
    index = int(np.argmax(apart))
    dot = opened.page.locator(f'[id="cloud-{cloud}-{which}"] use').nth(index)
    box = box_in_view(opened.page, dot)
    hover = opened.page.locator("#hover")
    assert not hover.is_visible()
    opened.page.mouse.move(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2)
    hover.wait_for(state="visible", timeout=5000)
    label, predicted = unit["wanted"][index][0], unit["predicted"][index][0]
    text = hover.inner_text()
    assert text.startswith(f"{unit['formulas'][index]} · {unit['ids'][index]}: label ")
    numbers = [float(part.split()[-1]) for part in text.split(": ")[1].split(", ")]
    assert numbers == pytest.approx([label, predicted, predicted - label], rel=2e-3)
    # It is marked in both figures; away from the figure nothing is.
    rings = opened.page.locator(f'details[data-cloud="{cloud}"] circle')
    assert [rings.nth(i).is_visible() for i in range(rings.count())] == [True, True]
    opened.page.mouse.move(2, 2)
    hover.wait_for(state="hidden", timeout=5000)


def test_legible_on_a_phone(browser, folder):
    one = Opened(browser, folder / "report.html", viewport=PHONE, has_touch=True, is_mobile=True)
    page = one.page
    for details in page.locator("details").all():
        details.evaluate("e => e.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    # What is wider lies in a box of its own that scrolls.
    wide = page.evaluate(
        "[...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll, pre') &&"
        " e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    sizes = page.eval_on_selector_all(
        "svg text",
        "all => all.map(e => parseFloat(getComputedStyle(e).fontSize) *"
        " e.ownerSVGElement.getScreenCTM().a)",
    )
    assert min(sizes) > 8
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    # A finger finds a dot, too.
    dot = page.locator('[id="cloud-0-parity"] use').first
    box = box_in_view(page, dot)
    page.touchscreen.tap(box["x"], box["y"])
    page.locator("#hover").wait_for(state="visible", timeout=5000)
    assert one.said == []
    page.context.close()


def test_printed(browser, folder):
    # A4 with the margins that the page asks for, 14 mm.
    one = Opened(browser, folder / "report.html", viewport={"width": 688, "height": 1000})
    one.page.emulate_media(media="print")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 688
    wide = one.page.evaluate(
        "[...document.querySelectorAll('table, svg')].filter(e =>"
        " e.getBoundingClientRect().right > 688).length"
    )
    assert wide == 0
    assert one.page.locator(".facts").first.is_visible()
    one.page.context.close()


def test_a_page_to_pass_on_has_no_crystals(browser, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    write_report(copy, crystals=False)
    text = (copy / "report.html").read_text(encoding="utf-8")
    splits = json.loads((copy / "splits.json").read_text(encoding="utf-8"))["splits"]
    ids = sorted({id for split in splits for id in split["test"]})
    assert ids
    assert all(id in (folder / "report.html").read_text(encoding="utf-8") for id in ids)
    assert not any(id in text for id in ids)
    one = Opened(browser, copy / "report.html")
    # All that is made of many crystals is still there.
    kept = {key for key, _, _ in one.cells()}
    full = Opened(browser, folder / "report.html")
    assert kept == {key for key, _, _ in full.cells()}
    assert one.clouds() == []
    assert one.said == []
    for opened in (one, full):
        opened.page.context.close()


def test_missing_units_are_named(browser, tmp_path):
    gone = ("my-run--fold-3.json", "mean--fold-0.json")
    write_report(write_folder(tmp_path / "e", missing=gone))
    one = Opened(browser, tmp_path / "e" / "report.html")
    assert one.page.locator(".verdict.unfinished").inner_text().startswith("Not finished: 2 of 20")
    names = one.page.eval_on_selector_all("#missing li", "all => all.map(e => e.textContent)")
    assert sorted(names) == ["mean, fold 0", "my run, fold 3"]
    # A dash where a unit is missing, on the line of the right arm.
    line = one.page.locator("#splits tbody tr", has_text="my run")
    cells = line.locator("td").all_text_contents()
    assert cells[4].strip() == "–"
    assert all(math.isfinite(float(cells[i])) for i in (1, 2, 3, 5))
    one.page.context.close()


def test_nothing_done_yet(browser, tmp_path):
    write_folder(tmp_path / "e")
    for file in (tmp_path / "e/units").glob("*.json"):
        file.unlink()
    write_report(tmp_path / "e")
    one = Opened(browser, tmp_path / "e" / "report.html")
    assert "Not finished: 20 of 20" in one.page.locator(".verdict").first.inner_text()
    assert one.said == []
    one.page.context.close()


def test_names_are_text_and_no_more(browser, tmp_path):
    name = "<img src=x onerror=alert(1)></script><script>alert(2)</script>$\\frac{$"
    write_folder(tmp_path / "e")
    path = tmp_path / "e/evaluation.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["task"] |= {"name": name, "unit": name, "notes": [name]}
    about["leakage"] = about["coverage"] = {"share": name}
    path.write_text(json.dumps(about), encoding="utf-8")
    for file in (tmp_path / "e/units").glob("*.json"):
        unit = json.loads(file.read_text(encoding="utf-8"))
        unit["ids"][0] = name
        file.write_text(json.dumps(unit), encoding="utf-8")
    write_report(tmp_path / "e")
    one = Opened(browser, tmp_path / "e" / "report.html")
    assert one.said == []
    assert one.asked == [one.url]
    assert one.page.locator("h1").inner_text() == name
    assert one.page.locator("img").count() == 0
    one.page.context.close()


def test_of_many_crystals_some_are_drawn(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_figures, "MANY", 60)
    write_report(write_folder(tmp_path / "e"))
    one = Opened(browser, tmp_path / "e" / "report.html")
    assert "Of 150 a random 60 are drawn." in one.page.locator("body").inner_text()
    cloud, arm = one.clouds()[0]
    assert len(one.dots(cloud, "parity")) == 60
    points = json.loads(one.page.locator("#points").text_content())[cloud]
    drawn = one.dots(cloud, "parity")
    slope, offset = np.polyfit([point[2] for point in points], drawn[:, 0], 1)
    assert np.abs(slope * np.array([p[2] for p in points]) + offset - drawn[:, 0]).max() < 1e-3
    known = {i: w[0] for u in units_of(tmp_path / "e", arm) for i, w in zip(u["ids"], u["wanted"],
             strict=True)}  # fmt: skip
    assert all(known[point[0]] == point[2] for point in points)
    one.page.context.close()


@pytest.mark.parametrize("classes", [2, 3])
def test_classes(browser, tmp_path, classes):
    write_report(write_folder(tmp_path / "e", classes=classes))
    one = Opened(browser, tmp_path / "e" / "report.html")
    assert one.said == []
    text = one.page.locator("body").inner_text()
    assert "Calibration of probabilities" in text
    assert "Every judged crystal" not in text
    one.page.context.close()


def test_the_command_writes_it(shell, tmp_path):
    """And long lists of leakage or coverage are cut short."""
    folder = write_folder(tmp_path / "e")
    path = folder / "evaluation.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["coverage"] = {"distances": [f"d{i}" for i in range(50)]}
    path.write_text(json.dumps(about), encoding="utf-8")
    status, out, _ = shell("report", folder)
    assert status == 0
    assert "report.html" in out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "- d19\n- and 30 more" in page.replace("  -", "-")
    assert "d20" not in page
