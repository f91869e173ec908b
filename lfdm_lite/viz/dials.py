"""A function behind dials: a live control where somebody can turn it, and its twin, which needs no kernel.

`dial` draws every combination of the values that it is given, once, and keeps the pictures in plain HTML: one range
or list of choices a dial, alternative text for each state, no network. That twin is what a notebook stores. A person
who runs the cell gets a control of `ipywidgets` in its place, for the values in between.
"""

import base64
import html
import io
import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..files.pictures import read_image, to_pillow
from .players import KEYS_STAY, Player
from .stills import Picture

PANEL = 256  # pixels of height that a picture has at least; figures keep their size
MOST = 100  # pictures that a twin may hold
LARGE = 1_000_000  # characters of HTML; beyond that a warning says so
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Dial:
    """A function behind dials. Shows itself in Jupyter: live where somebody runs the cell, else its twin."""

    draw: Callable[..., Any]
    choices: dict[str, dict[str, Any]]  # dial -> what it says at each place -> the value there
    alt: str | Callable[..., str]
    reach: dict[str, tuple[float | int, float | int]]  # ends of the live control, where not those of the choices
    views: tuple[str, ...]  # <img> of every combination; the last dial turns fastest
    frames: int  # of each; 1: a still
    start: int = 0  # the frame that is seen first

    def __repr__(self) -> str:
        return f"Dial({' x '.join(f'{len(words)} {name}' for name, words in self.choices.items())})"

    def _repr_html_(self) -> str:
        """The twin."""
        return _page(self.views, self.choices, self.frames, self.start)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if somebody_is_there():
            if find_spec("ipywidgets"):
                bundle[WIDGET] = self.live()._repr_mimebundle_()[WIDGET]
            else:
                bundle["text/html"] += f"<p>{html.escape(_missing())}</p>"
        return bundle

    def live(self) -> Any:
        """The control of `ipywidgets`: one widget a dial, and the picture, drawn anew whenever one is turned.

        Raises:
            ImportError: ipywidgets is missing; says how to install it.
        """
        if not find_spec("ipywidgets"):
            raise ImportError(_missing())
        widgets = import_module("ipywidgets")
        boxes = {name: _box(widgets, name, words, self.reach.get(name)) for name, words in self.choices.items()}
        shown = widgets.HTML()

        def redraw(change: Any = None) -> None:
            words = {name: _word(box.value) for name, box in boxes.items()}
            state = {name: (word, self.choices[name].get(word, boxes[name].value)) for name, word in words.items()}
            try:
                view, _, frames, start = _view(self.draw, self.alt, state, True)
                shown.value = _page((view,), {}, frames, start)
            except Exception as error:  # a callback has no cell below which a traceback could stand
                shown.value = f'<p role="alert">{html.escape(f"{type(error).__name__}: {error}")}</p>'

        for box in boxes.values():
            box.observe(redraw, "value")
        redraw()
        return widgets.VBox([*boxes.values(), shown])


def dial(
    draw: Callable[..., Any],
    /,
    *,
    alt: str | Callable[..., str],
    reach: Mapping[str, tuple[float | int, float | int]] | None = None,
    **values: Sequence[Any] | Mapping[str, Any],
) -> Dial:
    """Put a function behind dials, one for each of its arguments.

    Args:
        draw: called as `draw(name=value, ...)`; returns a `Picture`, a matplotlib figure (which is closed), an image
            `(3, h, w)`, or a clip `(3, t, h, w)` or `Player`, which get a dial for the frame and a play button
            (and open at the `start` of the first `Player`).
        alt: text for who cannot see the picture; or a function of the values that returns it.
        reach: ends of a live control that may go beyond `values`, such as `{"seed": (0, 99)}`.
        values: for each argument what the twin offers: numbers, texts, or a dictionary from texts to anything.

    Raises:
        ValueError: no values; more combinations than a page should hold; pictures of different size.
    """
    choices = {name: _choices(name, given) for name, given in values.items()}
    count = math.prod(map(len, choices.values()))
    if not choices or count > MOST:
        raise ValueError(
            f"{count} pictures for {len(choices)} dials; expected a dial or more, and at most {MOST} pictures"
        )
    if unknown := sorted(set(reach or {}) - set(choices)):
        raise ValueError(f"reach names {', '.join(unknown)}; the dials are {', '.join(choices)}")
    made = [
        _view(draw, alt, dict(zip(choices, state, strict=True)), i == 0)
        for i, state in enumerate(itertools.product(*(words.items() for words in choices.values())))
    ]
    views, sizes, frames, starts = zip(*made, strict=True)
    if len(set(sizes)) != 1:
        raise ValueError(f"pictures of sizes {sorted(set(sizes))}; expected one size and one number of frames")
    found = Dial(draw, choices, alt, dict(reach or {}), views, frames[0], starts[0])
    if (size := sum(map(len, views))) > LARGE:
        warnings.warn(f"{found!r} takes {size / 1e6:.1f} MB: draw fewer or smaller pictures", stacklevel=2)
    return found


def somebody_is_there() -> bool:
    """Whether a person runs this cell, who can turn a control: whether the request allows questions to be asked.

    JupyterLab and Notebook allow `input()`; nbclient (nbconvert, Jupyter Book, nbgrader) and nbval do not. Where a
    program does not say, `Dial.live` gives the control all the same.
    """
    ipython = import_module("IPython").get_ipython() if find_spec("IPython") else None
    request: Any = getattr(getattr(ipython, "kernel", None), "get_parent", dict)()
    return bool(request.get("content", {}).get("allow_stdin", False))


# ---------------------------------------------------------------- one state


def _missing() -> str:
    """What to say where ipywidgets is not installed."""
    from ..files.machine.packages import advice

    return f"Values in between need ipywidgets: {advice('ipywidgets')}"


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(words: Mapping[str, Any]) -> bool:
    """Whether the values of a dial are numbers under their own names, so that there may be others between them."""
    return all(isinstance(v, float | int) and not isinstance(v, bool) and _word(v) == w for w, v in words.items())


def _choices(name: str, given: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    words = {str(word): value for word, value in given.items()} if isinstance(given, Mapping) else {}
    words = words or {_word(value): value for value in given}
    if len(words) < max(1, len(given)):
        raise ValueError(f"the values of {name}, {list(given)}, read alike; expected one or more that read differently")
    return words


def _view(
    draw: Callable[..., Any], alt: str | Callable[..., str], state: Mapping[str, tuple[str, Any]], shown: bool
) -> tuple[str, tuple[int, ...], int, int]:
    """One state → its <img>, the size of the picture as (t, h, w), its number of frames, and the one seen first."""
    values = {name: value for name, (_, value) in state.items()}
    drawn = draw(**values)
    frames, start = _frames(drawn), drawn.start if isinstance(drawn, Player) else 0
    _, t, h, w = frames.shape
    sheet, file = to_pillow(frames.permute(0, 2, 1, 3).reshape(3, h, t * w)), io.BytesIO()
    # Without loss a plot is half of its PNG; of moving frames nobody sees what quality 80 leaves out.
    sheet.save(file, "WEBP", **({"lossless": True} if t == 1 else {"quality": 80, "method": 6}))
    scale = 1 if hasattr(drawn, "savefig") else math.ceil(PANEL / h)
    words = ", ".join(f"{name.replace('_', ' ')} {word}" for name, (word, _) in state.items())
    told = alt(**values) if callable(alt) else alt
    hidden = 'hidden="hidden" '  # JupyterLab drops an empty attribute of a notebook that is not trusted yet
    left = f"{100 * start / max(1, t - 1):g}%"
    window = f"aspect-ratio:{w}/{h};object-fit:cover;object-position:{left} 0;" if t > 1 else ""  # a frame of the sheet
    view = (
        f'<img {"" if shown else hidden}alt="{html.escape(f"{told} ({words})")}" '
        f'style="width:{w * scale}px;max-width:100%;height:auto;{window}margin:0;padding:0'
        f'{";image-rendering:pixelated" if scale > 1 else ""}" '
        f'src="data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )
    return view, (t, h, w), t, start


def _frames(drawn: Any) -> Float[Tensor, "3 t h w"]:
    """What a function drew, as frames."""
    if isinstance(drawn, Player):
        return drawn.frames
    if isinstance(drawn, Picture):
        return drawn.image[:, None]
    if isinstance(drawn, Tensor) and drawn.ndim in (3, 4) and len(drawn) == 3:
        return drawn.detach() if drawn.ndim == 4 else drawn.detach()[:, None]
    if hasattr(drawn, "savefig"):
        file = io.BytesIO()
        drawn.savefig(file, format="png")
        import_module("matplotlib.pyplot").close(drawn)  # or Jupyter shows it once more, below the dial
        return read_image(import_module("PIL.Image").open(file))[:, None]
    raise ValueError(f"the function drew a {type(drawn).__name__}; expected a Picture, a figure, an image or a clip")


def _box(widgets: Any, name: str, words: Mapping[str, Any], reach: tuple[float | int, float | int] | None) -> Any:
    """The widget of one dial: a slider for numbers, else a list of choices."""
    first, *others = words.values()
    options = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if not _numbers(words) or not (others or reach):
        return widgets.Dropdown(options=list(words), **options)
    low, high = reach or (min(words.values()), max(words.values()))
    if all(isinstance(value, int) for value in (first, *others, low, high)):
        return widgets.IntSlider(first, low, high, continuous_update=False, **options)
    return widgets.FloatSlider(first, min=low, max=high, step=(high - low) / 100, continuous_update=False, **options)


# ---------------------------------------------------------------- the page

# The few lines of script are in the elements themselves: a page may hold any number of dials and no names clash. Where
# scripts are cut out (a notebook that is not trusted yet) the first state is seen, and a sentence says what to do.
TURN = """let at=0,part=0;
for(const dial of this.querySelectorAll('input,select')){
const place=+(dial.selectedIndex??dial.value);
if(dial.type==='range'){const word=dial.dataset.words.split('|')[place];
dial.setAttribute('aria-valuetext',word);dial.closest('div').querySelector('span').textContent=word}
if(dial.dataset.frames)part=place/(dial.dataset.frames-1);else at=at*dial.dataset.count+place}
const pictures=this.querySelectorAll('img'),said=this.querySelector('[role=status]');
pictures.forEach((picture,i)=>{picture.hidden=i!==at;picture.style.objectPosition=100*part+'% 0'});
if(said.textContent!==pictures[at].alt)said.textContent=pictures[at].alt""".replace("\n", "")
PLAY = """const box=this.closest('.lfdm-dial'),dial=box.querySelector('[data-frames]');
if(box.timer){clearInterval(box.timer);box.timer=0;this.textContent='\u25b6'}
else{this.textContent='\u275a\u275a';box.timer=setInterval(()=>{
if(!box.isConnected)clearInterval(box.timer);
dial.value=(+dial.value+1)%(+dial.max+1);dial.dispatchEvent(new Event('input',{bubbles:true}))},125)}"""
PLAY = PLAY.replace("\n", "")
READY = "this.onload=null;const hint=this.closest('.lfdm-dial').querySelector('.lfdm-hint');if(hint)hint.remove()"
UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap"
HINT = "To turn the dials, run this cell, or trust the notebook."


def _page(views: Sequence[str], choices: Mapping[str, Mapping[str, Any]], frames: int, start: int) -> str:
    """The pictures, and below them one line a dial."""
    lines = [_line(name, words) for name, words in choices.items()]
    if frames > 1:
        button = f'<button type="button" onclick="{PLAY}" aria-label="play or pause">\u25b6</button> '
        numbers = {str(i): i for i in range(frames)}
        lines.append(_line("frame", numbers, button, f' data-frames="{frames}"', start))
    hint = f'<p class="lfdm-hint"><em>{HINT}</em></p>' if lines else ""
    first = views[0].replace("<img ", f'<img onload="{READY}" ', 1) if lines else views[0]
    return (
        f'<div class="lfdm-dial" role="group" aria-label="picture with dials" {KEYS_STAY} '
        f'oninput="{TURN}"><div>{first}{"".join(views[1:])}</div>{"".join(lines)}{hint}'
        f'<div role="status" style="{UNSEEN}"></div></div>'
    )


def _line(name: str, words: Mapping[str, Any], before: str = "", more: str = "", at: int = 0) -> str:
    """A range for numbers, with what it says beside it; a list of choices for texts."""
    title, listed = html.escape(name.replace("_", " ")), [html.escape(word) for word in words]
    label = f'<div style="display:inline-block;margin:0.4em 1.5em 0.4em 0;white-space:nowrap">{before}<label>{title} '
    if _numbers(words):
        ends = f'min="0" max="{len(listed) - 1}" value="{at}" step="1" autocomplete="off" data-count="{len(listed)}"'
        return (
            f'{label}<input type="range" {ends} data-words="{"|".join(listed)}" '
            f'aria-valuetext="{listed[at]}"{more} style="width:12em;vertical-align:middle"></label> '
            f'<span aria-hidden="true" style="display:inline-block;min-width:3em">{listed[at]}</span></div>'
        )
    options = "".join(f"<option>{word}</option>" for word in listed)
    return f'{label}<select autocomplete="off" data-count="{len(listed)}">{options}</select></label></div>'
