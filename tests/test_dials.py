"""A function behind dials: what its twin holds, when a live control comes, and what turning one does."""

import base64
import html
import importlib.util
import io
import re
from queue import Empty

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from PIL import Image

from lfdm_lite import viz
from lfdm_lite.viz import dials

from .patience import HUNG


def grey(level: float, size: int = 8) -> torch.Tensor:
    return torch.full((3, size, size), level)


def pictures(made: viz.Dial) -> list[tuple[str, float]]:
    """Alternative text and mean value, 0 to 1, of every picture that a dial keeps."""
    found = []
    for tag in re.findall(r"<img [^>]*>", made._repr_html_()):
        file = io.BytesIO(base64.b64decode(re.search(r'base64,([^"]*)"', tag)[1]))
        with Image.open(file) as image:
            found.append((html.unescape(re.search(r'alt="([^"]*)"', tag)[1]), np.asarray(image).mean().item() / 255))
    return found


# ---------------------------------------------------------------- the twin


def test_a_twin_holds_every_combination_and_the_last_dial_turns_fastest():
    made = viz.dial(lambda a, b: grey(a + b), alt="a field", a=[0.0, 0.5], b=[0.0, 0.2, 0.4])
    told, levels = zip(*pictures(made), strict=True)
    assert [round(level, 2) for level in levels] == [0.0, 0.2, 0.4, 0.5, 0.7, 0.9]
    assert told[4] == "a field (a 0.5, b 0.2)" and len(set(told)) == 6
    assert repr(made) == "Dial(2 a x 3 b)"


def test_alternative_text_may_depend_on_the_values():
    made = viz.dial(
        lambda how_grey: grey(how_grey), alt=lambda how_grey: f'"{how_grey:.0%}" & more', how_grey=[0.0, 1.0]
    )
    assert [told for told, _ in pictures(made)] == ['"0%" & more (how grey 0)', '"100%" & more (how grey 1)']


def test_one_picture_is_seen_and_each_dial_has_a_label_and_says_its_value():
    made = viz.dial(lambda t, kind: grey(t / 10), alt="x", t=[0, 5, 10], kind=["round", "<flat>"])._repr_html_()
    assert made.count("<img ") == 6 and made.count('<img hidden="hidden"') == 5
    assert re.search(r'<label>t <input type="range" min="0" max="2" value="0"[^>]*aria-valuetext="0"', made)
    assert re.search(r"<label>kind <select[^>]*><option>round</option><option>&lt;flat&gt;</option></select>", made)
    assert 'role="status"' in made and "lfdm-hint" in made


def test_a_twin_needs_no_network_and_no_names_that_could_clash():
    draw = lambda t: grey(t / 2)
    first, second = (viz.dial(draw, alt="x", t=[0, 1])._repr_html_() for _ in range(2))
    assert first == second
    assert not re.search(r"http|<script|\sid=|\b[0-9a-f]{32}\b", re.sub(r"base64,[^\"]*", "", first))


def test_a_figure_is_closed_and_a_picture_keeps_its_pixels():
    def plot(height: int):
        figure, ax = plt.subplots(figsize=(3, 2), dpi=50)
        ax.plot([0, height])
        return figure

    made = viz.dial(plot, alt="a line", height=[1, 2])
    assert not plt.get_fignums()
    assert "width:150px" in made._repr_html_() and "pixelated" not in made._repr_html_()  # 3 inches of 50 pixels
    noise = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(0))
    kept = viz.dial(lambda a: viz.Picture(noise, "noise"), alt="noise", a=["only"])._repr_html_()
    with Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]*)"', kept)[1]))) as image:
        assert np.abs(np.asarray(image) / 255 - noise.permute(1, 2, 0).numpy()).max() < 0.51 / 255 + 1e-6
    assert "width:288px" in kept and "image-rendering:pixelated" in kept  # at least 256 pixels high


@pytest.mark.parametrize("wrap", [lambda clip: clip, viz.player])
def test_a_clip_gets_a_dial_for_its_frames_and_a_play_button(wrap):
    ramp = (torch.arange(4) / 4).view(1, 4, 1, 1).expand(3, 4, 16, 16)
    made = viz.dial(lambda seed: wrap(ramp * seed), alt="x", seed=[0, 1])
    assert "play or pause" in made._repr_html_() and 'data-frames="4"' in made._repr_html_()
    assert [round(level, 1) for _, level in pictures(made)] == [0.0, 0.4]  # all four frames side by side
    still = viz.dial(lambda seed: ramp[:, 2] * seed, alt="x", seed=[0, 1])._repr_html_()
    assert "play or pause" not in still and "data-frames=" not in still.replace(dials.TURN, "")


def test_a_dial_opens_at_the_frame_at_which_its_player_does():
    ramp = (torch.arange(5) / 5).view(1, 5, 1, 1).expand(3, 5, 16, 16)
    made = viz.dial(lambda seed: viz.player(ramp * seed, start=3), alt="x", seed=[0, 1])
    for page in (made._repr_html_(), made.live().children[-1].value):
        assert "object-position:75% 0;" in page
    frame = re.search(r"<label>frame <input[^>]*>", made._repr_html_())[0]
    assert 'value="3"' in frame and 'aria-valuetext="3"' in frame


def test_the_values_of_a_dial_may_have_names_of_their_own():
    made = viz.dial(lambda flow: grey(flow[0].item()), alt="x", flow={"start": torch.zeros(2), "end": torch.ones(2)})
    assert pictures(made) == [("x (flow start)", 0.0), ("x (flow end)", 1.0)]
    box, shown = made.live().children
    box.value = "end"
    assert made.views[1].replace('hidden="hidden" ', "") in shown.value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "0 dials; expected a dial or more"),
        ({"a": []}, "read alike; expected one or more"),
        ({"a": [1.0, 1]}, "read alike"),
        ({"a": range(20), "b": range(20)}, "400 pictures .* at most 100"),
        ({"size": [4, 8]}, r"pictures of sizes .* expected one size"),
        ({"reach": {"b": (0, 9)}, "a": [1]}, "reach names b; the dials are a"),
        ({"kind": [3]}, "drew a int; expected a Picture"),
    ],
)
def test_a_dial_says_what_it_cannot_show(values, message):
    draw = lambda a=0.0, b=0.0, size=8, kind=None: kind or grey(0.5, size)
    with pytest.raises(ValueError, match=message):
        viz.dial(draw, alt="x", **values)


def test_a_twin_that_would_swell_a_notebook_is_warned_of(monkeypatch):
    monkeypatch.setattr(dials, "LARGE", 2000)
    with pytest.warns(UserWarning, match="fewer or smaller pictures"):
        viz.dial(lambda a: torch.rand(3, 64, 64), alt="x", a=[0, 1])


# ---------------------------------------------------------------- the live control


def test_a_live_control_draws_values_in_between_and_beyond():
    made = viz.dial(
        lambda t, seed, kind: grey(t / 10 + seed / 100) if kind == "on" else grey(0.0),
        alt="x", reach={"seed": (0, 20)}, t=[0, 5, 10], seed=[0, 1], kind=["on", "off"],
    )  # fmt: skip
    t, seed, kind, shown = made.live().children
    assert (t.min, t.max, seed.max, kind.options) == (0, 10, 20, ("on", "off"))
    t.value, seed.value = 3, 17
    assert "x (t 3, seed 17, kind on)" in shown.value
    level = lambda: pictures(type("Shown", (), {"_repr_html_": lambda self: shown.value})())[0][1]
    assert level() == pytest.approx(0.47, abs=0.003)
    kind.value = "off"
    assert level() == 0


def test_what_goes_wrong_while_turning_is_said_where_the_picture_was():
    def draw(a):
        return grey(1 / (3 - a))

    box, shown = viz.dial(draw, alt="x", reach={"a": (1, 3)}, a=[1, 2]).live().children
    box.value = 3
    assert 'role="alert"' in shown.value and "ZeroDivisionError: division by zero" in shown.value
    box.value = 2
    assert "<img" in shown.value


def test_without_ipywidgets_the_twin_stays_and_says_what_to_install(monkeypatch):
    made = viz.dial(lambda a: grey(a), alt="x", a=[0.0, 1.0])
    find = importlib.util.find_spec
    monkeypatch.setattr(dials, "find_spec", lambda name: None if name == "ipywidgets" else find(name))
    monkeypatch.setattr(dials, "somebody_is_there", lambda: True)
    bundle = made._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"} and "<img" in bundle["text/html"]
    assert "need ipywidgets: pip install" in bundle["text/html"]
    with pytest.raises(ImportError, match=r'pip install -e ".*\[teach\]"'):
        made.live()


CELL = """
import torch
from lfdm_lite import viz
viz.dial(lambda level: torch.full((3, 8, 8), level / 10), alt="grey", level=[0, 10])
"""


def outputs(client, messages: str, request: str) -> list[dict]:
    """Contents of all messages of a kind that a request caused, until the kernel is idle again."""
    found = []
    while True:
        message = client.get_iopub_msg(timeout=HUNG)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        assert message["msg_type"] != "error", content
        if message["msg_type"] == messages:
            found.append(content)
        if content.get("execution_state") == "idle":
            return found


def test_a_kernel_gives_a_person_the_live_control_and_a_batch_run_the_twin_alone():
    """The two requests differ in nothing but whether somebody could answer a question."""
    manager, client = start_new_kernel(startup_timeout=HUNG, kernel_name="python3")
    try:
        (batch,) = outputs(client, "execute_result", client.execute(CELL, allow_stdin=False))
        (person,) = outputs(client, "execute_result", client.execute(CELL, allow_stdin=True))
        assert set(batch["data"]) == {"text/plain", "text/html"}
        assert set(person["data"]) == {"text/plain", "text/html", dials.WIDGET}
        assert person["data"]["text/html"] == batch["data"]["text/html"]

        ask = "from ipywidgets import IntSlider, Widget\nfrom ipywidgets.widgets.widget import _instances\n"
        ask += "print(*[i for i, w in _instances.items() if isinstance(w, IntSlider)])"
        (printed,) = outputs(client, "stream", client.execute(ask))
        change = {"comm_id": printed["text"].strip(), "data": {"method": "update", "state": {"value": 7}}}
        message = client.session.msg("comm_msg", change)
        client.shell_channel.send(message)
        told = [
            c["data"].get("state", {}).get("value") for c in outputs(client, "comm_msg", message["header"]["msg_id"])
        ]
        assert any("grey (level 7)" in str(value) for value in told)
    except Empty:
        pytest.fail("the kernel did not answer")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
