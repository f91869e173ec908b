"""The live page of the built book in a real browser: it makes the video that PyTorch makes, and everybody can use it.

`make book` builds the book first, with the model where it can fetch ONNX Runtime; Debian's chromium is looked for.
"""

import base64
import json
import threading
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch

from webpage.serve import Isolated, server

from . import chromium
from .test_site import SITE

LIVE = SITE / "_static" / "live"
PICTURE = Path(__file__).parents[1] / "assets" / "examples" / "person_a.png"
SEED, LABEL = 0, "surprise"  # what the page begins with
STEPS = 8  # and that many, all guided, where a model says of no quicker way that it serves as well
NO_GPU = "No available adapters."  # chromium says so to a page that asks

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not (LIVE / "contents.json").exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(chromium.find() is None, reason="chromium is missing: apt-get install chromium"),
]
needs_model = pytest.mark.skipif(
    not (LIVE / "model" / "model.json").exists(),
    reason="the book was built without the live model: make site-assets, then make book",
)


class Quiet:
    def log_message(self, *_):
        """Nothing: requests are not of interest."""


class Plain(Quiet, SimpleHTTPRequestHandler):
    """Any server of files."""


class WithThreads(Quiet, Isolated):
    """The server of `make serve`."""


@pytest.fixture(scope="module")
def addresses():
    running = {kind: server(0, SITE, kind) for kind in (Plain, WithThreads)}
    for one in running.values():
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield {kind: f"http://127.0.0.1:{one.server_port}/chapters/live.html" for kind, one in running.items()}
    for one in running.values():
        one.shutdown()
        one.server_close()


def begin(page: chromium.Chromium, address: str) -> None:
    page.open(address)
    hear(page)


def hear(page: chromium.Chromium) -> None:
    """Keep what the live page makes."""
    page.until("document.querySelector('#live form, #live img')")
    page.run(
        "window.made = []; "
        "document.getElementById('live').addEventListener('lfdm-video', (event) => made.push(event.detail)); 0"
    )


def status(page: chromium.Chromium) -> str:
    return page.run("document.querySelector('#live [role=status]').textContent")


def make(page: chromium.Chromium, count: int = 1) -> None:
    """Press the button and wait for a video; what the page says against it is the test's message."""
    page.run("document.querySelector('.live-go').click()")
    page.until(f"made.length === {count} || /not work/.test(document.querySelector('#live [role=status]').textContent)")
    assert page.run("made.length") == count, status(page)


def made(page: chromium.Chromium, name: str = "video") -> torch.Tensor:
    """Numbers of the last video."""
    script = f"""(() => {{
        const bytes = new Uint8Array(made.at(-1).{name}.buffer), pieces = [];
        for (let i = 0; i < bytes.length; i += 8192) pieces.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
        return btoa(pieces.join(""));
    }})()"""
    return torch.from_numpy(np.frombuffer(base64.b64decode(page.run(script)), dtype=np.float32).copy())


@pytest.fixture(scope="module")
def page(addresses):
    """A page on a plain server that has made one video; what it had fetched before the button is kept."""
    with chromium.Chromium() as page:
        begin(page, addresses[Plain])
        page.before = page.run("performance.getEntriesByType('resource').map((one) => one.name)")
        make(page)
        yield page


@needs_model
def test_two_clicks_lead_from_the_first_page_to_a_video(addresses, tmp_path):
    with chromium.Chromium() as page:
        page.open(addresses[Plain].replace("chapters/live.html", "index.html"))
        page.until("document.querySelector('#cover')?.player")
        page.picture(tmp_path / "first_page.png")
        page.click("a.book-button")
        page.until("document.querySelector('#live form')")
        hear(page)
        page.picture(tmp_path / "live_page.png")
        page.click(".live-go")
        page.until("made.length || /not work/.test(document.querySelector('#live [role=status]').textContent)")
        assert page.run("made.length") == 1, status(page)
        page.picture(tmp_path / "video.png")
        frames = made(page).view(3, 16, 64, 64)
        assert 0 <= frames.min() and frames.max() <= 1
        assert (frames[:, -1] - frames[:, 0]).abs().max() > 0.1, "the face moves"
        assert page.run("document.querySelector('#live').page.player.count") == 16
        assert not [said for said in page.problems if NO_GPU not in said]


@needs_model
def test_a_press_before_the_picture_is_read_is_not_lost(addresses):
    slow = """const fetched = globalThis.fetch;
        globalThis.fetch = async (url) => {
            if (String(url).includes('/pictures/')) await new Promise((resolve) => setTimeout(resolve, 3000));
            return fetched(url);
        }"""
    with chromium.Chromium() as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=slow)
        begin(page, addresses[Plain])
        page.run("document.querySelector('.live-go').click()")
        assert page.run("document.querySelector('#live').page.image") is None
        began = "/Downloading|Building|Denoising/.test(document.querySelector('#live [role=status]').textContent)"
        page.until(began, 60)


@pytest.fixture(scope="module")
def model():
    from lfdm_lite import LFDM, asset

    return LFDM.from_pretrained(asset("checkpoints/faces64"))


@pytest.fixture(scope="module")
def of_pytorch(model):
    """The quick way, which the page takes unless told otherwise."""
    quick = dict(zip(("steps", "guided_steps", "spacing"), model.quick, strict=True))
    return model.generate(PICTURE, LABEL, **quick, seed=SEED, progress=False)


@needs_model
def test_nothing_is_downloaded_before_somebody_asks(page):
    assert not [name for name in page.before if name.endswith((".onnx", ".wasm", ".gz"))]
    assert any(name.endswith("model.json") for name in page.before)


@needs_model
def test_the_video_is_that_of_pytorch_for_the_same_seed(page, of_pytorch):
    for name in ("video", "flow", "occlusion"):
        theirs = made(page, name).view(getattr(of_pytorch, name)[0].shape)
        difference = (theirs - getattr(of_pytorch, name)[0]).abs().max().item()
        assert difference < 1e-3, f"{name}: {difference}"


@needs_model
def test_the_canvas_shows_its_frames_one_after_the_other(page, of_pytorch):
    page.run("document.querySelector('#live').page.player.pause()")
    shown = []
    for frame in range(16):
        pixels = page.run(f"""(() => {{
            document.querySelector('#live').page.player.show({frame});
            const {{ width, height }} = document.querySelector('.live-video canvas');
            const copy = new OffscreenCanvas(width, height).getContext('2d', {{ willReadFrequently: true }});
            copy.drawImage(document.querySelector('.live-video canvas'), 0, 0);
            return Array.from(copy.getImageData(0, 0, width, height).data);
        }})()""")
        shown.append(torch.tensor(pixels).view(64, 64, 4)[..., :3].permute(2, 0, 1) / 255)
    video = torch.stack(shown, dim=1)
    assert (video - of_pytorch.video[0]).abs().max() < 1 / 255
    motion = (video[:, 1:] - video[:, :-1]).abs().flatten(2).amax(dim=(0, 2))
    assert (motion > 0.02).sum() > 10, "most frames differ from the one before"


@needs_model
def test_playing_goes_on_by_itself_and_stops_when_paused(page):
    page.run("document.querySelector('#live').page.player.play()")
    before = page.run("document.querySelector('.live-player input').value")
    page.until(f"document.querySelector('.live-player input').value !== '{before}'", 10)
    page.run("document.querySelector('.live-player button').click()")
    assert page.run("document.querySelector('.live-player button').textContent") == "Play"
    assert page.run("document.querySelector('#live').page.player.timer") is None


@needs_model
def test_the_page_says_what_it_did(page, model):
    facts = page.run("document.querySelector('.live-facts').innerText")
    assert "WebAssembly, 1 thread" in facts and "isolation" in facts
    assert f"{sum(model.quick[:2])} passes" in facts
    assert "MB in" in facts
    assert float(page.run("document.querySelectorAll('.live-facts dd')[1].textContent")) < 1e-4


@needs_model
def test_a_run_can_be_stopped_and_begun_again(page):
    page.run("document.querySelector('.live-go').click()")
    page.until("!document.querySelector('.live-stop').disabled")
    page.run("document.querySelector('.live-stop').click()")
    page.until("document.querySelector('#live [role=status]').textContent === 'Stopped.'")
    assert page.run("made.length") == 1
    make(page, 2)


@needs_model
def test_another_label_and_guidance_one_take_one_pass_a_step_and_make_another_video(page):
    first = made(page)
    page.run("""(() => {
        const page = document.querySelector('#live').page;
        page.label.value = 0;
        page.steps.value = 4;
        const guidance = page.guidance.field.querySelector('input');
        guidance.value = 1;
        guidance.dispatchEvent(new Event('input'));
    })()""")
    make(page, page.run("made.length") + 1)
    assert "4 passes" in page.run("document.querySelector('.live-facts').innerText")
    assert (made(page) - first).abs().max() > 0.1


@needs_model
def test_the_console_stays_empty(page):
    assert not [said for said in page.problems if NO_GPU not in said]


@needs_model
def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page):
    names = page.run("""Array.from(document.querySelectorAll('#live :is(button, select, input, canvas, progress)'),
        (one) => (one.labels?.[0]?.textContent ?? '') + (one.labels?.[0]?.querySelector('img')?.alt ?? '')
            + (one.getAttribute('aria-label') ?? '') + (one.tagName === 'BUTTON' ? one.textContent : ''))""")
    assert len(names) > 20 and all(name.strip() for name in names), names
    page.run("document.querySelector('#live input[type=radio]').focus()")
    reached = set()
    for _ in range(12):
        page.press("Tab", 9)
        reached.add(page.run("document.activeElement.className + document.activeElement.type"))
    assert {"file", "select-one", "range", "number", "live-gosubmit"} <= reached, reached


@needs_model
def test_it_fits_a_phone(page):
    page.resize(390, 844)
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.resize(1280, 900)
    assert page.run("document.querySelector('.live-flow canvas').getBoundingClientRect().width") >= 256


@needs_model
def test_with_isolation_it_takes_two_threads_and_rests_for_who_wants_less_motion(addresses, model):
    """And takes the long way, every step guided."""
    wanted = model.generate(PICTURE, LABEL, steps=STEPS, seed=SEED, progress=False).video[0]
    with chromium.Chromium(dark=True, calm=True) as page:
        begin(page, addresses[WithThreads])
        assert page.run("crossOriginIsolated")
        page.run(f"document.querySelector('#live').page.steps.value = {STEPS}")
        make(page)
        threads = page.run("Math.min(4, navigator.hardwareConcurrency)")
        assert f"WebAssembly, {threads} thread" in page.run("document.querySelector('.live-facts').innerText")
        assert page.run("document.querySelector('#live').page.player.timer") is None
        assert f"{2 * STEPS} passes" in page.run("document.querySelector('.live-facts').innerText")
        assert (made(page).view(wanted.shape) - wanted).abs().max() < 1e-3
        ground, ink = page.run("""[[document.body, 'backgroundColor'], [document.querySelector('#live p'), 'color']]
            .map(([element, name]) => getComputedStyle(element)[name].match(/\\d+/g).map(Number))""")
        assert sum(ground[:3]) < 150 < 500 < sum(ink[:3]), "light letters on a dark page"
        assert not [said for said in page.problems if NO_GPU not in said]


@needs_model
def test_a_readers_own_export_is_read_from_files(addresses, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is missing: pip install -e '.[web]'")
    from lfdm_lite.browser.export import export

    from .test_pipeline import tiny_model

    model = tiny_model()
    export(model, tmp_path / "web")
    with chromium.Chromium() as page:
        begin(page, addresses[Plain])
        page.run("document.querySelector('#live details').open = true")
        document = page.call("DOM.getDocument")["root"]["nodeId"]
        chooser = page.call("DOM.querySelector", nodeId=document, selector="#live details input[type=file]")["nodeId"]
        graph = str(tmp_path / "web" / "encoder.onnx")
        page.call("DOM.setFileInputFiles", nodeId=chooser, files=[graph])
        page.until("/model.json is not among them/.test(document.querySelector('#live [role=status]').textContent)", 20)
        files = sorted(map(str, (tmp_path / "web").iterdir()))
        page.call("DOM.setFileInputFiles", nodeId=chooser, files=files)
        page.until("/your model/.test(document.querySelector('#live [role=status]').textContent)", 20)
        make(page)
        wanted = model.generate(PICTURE, LABEL, steps=STEPS, seed=SEED, progress=False).video[0]
        assert (made(page).view(wanted.shape) - wanted).abs().max() < 1e-3


@pytest.mark.parametrize(
    "missing, said",
    [
        ("delete globalThis.WebAssembly", "no WebAssembly"),
        ("globalThis.fetch = async () => Response.json({ pictures: [], model: false })", "make site-assets"),
        ("globalThis.fetch = async () => { throw new Error('offline') }", "offline"),
    ],
)
def test_without_what_it_needs_there_are_recorded_videos(addresses, missing, said):
    with chromium.Chromium() as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=missing)
        begin(page, addresses[Plain])
        assert said in status(page)
        page.until("document.querySelector('#live img').naturalWidth > 500", 30)


def test_what_the_page_may_load_is_listed():
    contents = json.loads((LIVE / "contents.json").read_text(encoding="utf-8"))
    assert len(contents["pictures"]) == 6
    assert all((LIVE / "pictures" / name).is_file() for name in contents["pictures"])
    assert all((LIVE / "runtime" / name).stat().st_size == size for name, size in contents["runtime"].items())


# ---------------------------------------------------------------- the page of points


@pytest.fixture(scope="module")
def points(addresses):
    with chromium.Chromium(calm=True) as page:
        page.open(addresses[Plain].replace("live.html", "points.html"))
        page.until("document.querySelector('#points')?.page?.made")
        yield page


def choose(page: chromium.Chromium, field: str, value: str) -> str:
    """Turn a dial of the page of points, and what the page says then."""
    page.run(f"""(() => {{
        const points = document.querySelector('#points').page, {{ field }} = points.{field};
        const control = field ? field.querySelector('input') : points.{field};
        control.value = '{value}';
        points.made = null;
        for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, {{ bubbles: true }}));
    }})()""")
    page.until("document.querySelector('#points').page.made")
    return page.run("document.querySelector('#points [role=status]').textContent")


def test_points_say_the_numbers_of_chapter_07(points):
    choose(points, "label", "0")
    assert "83 % of the 2000 points" in (said := choose(points, "guidance", "8")) and "height 1.53" in said
    assert "98 % of the 2000 points" in (said := choose(points, "label", "2")) and "height -1.36" in said


def test_points_move_from_noise_to_data(points):
    choose(points, "label", "")
    spread = points.run("""(() => {
        const { made: { path }, mixture } = document.querySelector('#points').page;
        const far = (points) => points.filter((_, i) => i % 2 === 0).filter((x, i) => mixture.mu.every(
            (mu, k) => Math.hypot(x - mu[0], points[2 * i + 1] - mu[1]) > 3 * mixture.tau[k])).length;
        return [far(path[0]), far(path.at(-1))];
    })()""")
    assert spread[0] > 1000 > 100 > spread[1], "points beyond three deviations of every blob, before and after"
    shot = "document.querySelector('#points canvas').toDataURL()"
    points.run("document.querySelector('#points').page.show(0)")
    first = points.run(shot)
    points.run("document.querySelector('#points').page.show(20)")
    assert points.run(shot) != first


def test_a_mixture_of_ones_own_is_made_by_keyboard(points):
    choose(points, "kind", "own")
    points.run("document.querySelector('#points canvas').focus()")
    points.press("Enter", 13)
    for _ in range(5):
        points.press("ArrowRight", 39)
    points.press("Enter", 13)
    points.until("document.querySelector('#points').page.mixture.mu.length === 2")
    assert points.run("document.querySelector('#points').page.mixture.mu[1][0]") == pytest.approx(0.5)


def test_the_page_of_points_is_quiet_and_fits_a_phone(points):
    points.resize(390, 844)
    assert points.run("document.documentElement.scrollWidth") <= 390
    assert not points.problems
