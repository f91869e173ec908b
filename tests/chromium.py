"""A page in a real browser: Debian's chromium without a window, spoken to by the DevTools protocol.

One process with a profile of its own for each `with Chromium() as page`; what the page writes to its console and what
it fails to fetch is kept, for a test to look at.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

NAMES = ("chromium", "chromium-browser", "google-chrome")
START, ANSWER = 120, 300  # seconds until the browser listens; until a call is answered, on a busy machine
GLANCE = 0.02  # seconds between two looks at whether something is so
# what the browser says when a page has left while it was asked
LEFT = "navigated or closed", "context was destroyed", "Cannot find context", "default execution context"


def find() -> str | None:
    """The browser's program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One page. `problems` has what its console, its errors and failed requests said."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False, calm: bool = False, flags: tuple = ()):
        self.size, self.flags, self.problems, self.bytes = (width, height), flags, [], 0
        self.dark, self.calm = dark, calm

    def __enter__(self) -> "Chromium":
        import websocket

        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--remote-allow-origins=*"]
        options += [f"--user-data-dir={self.profile.name}", "--disable-dev-shm-usage", "--no-first-run", *self.flags]
        nothing = subprocess.DEVNULL
        self.process = subprocess.Popen([find(), *options, "about:blank"], stdout=nothing, stderr=nothing)
        with urlopen(f"http://127.0.0.1:{self._port()}/json/list", timeout=START) as answer:
            target = next(one for one in json.load(answer) if one["type"] == "page")
        self.socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=ANSWER)
        self.number = 0
        for domain in ("Page", "Runtime", "Network", "Log", "Inspector"):
            self.call(f"{domain}.enable")
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        self.ask_for(dark=self.dark, calm=self.calm)
        self.resize(*self.size)
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    def _port(self) -> int:
        note, end = Path(self.profile.name) / "DevToolsActivePort", time.monotonic() + START
        while time.monotonic() < end:
            if note.is_file() and (lines := note.read_text().splitlines()):
                return int(lines[0])
            time.sleep(GLANCE)
        self.process.kill()
        raise TimeoutError(f"{find()} does not listen after {START} s")

    def call(self, method: str, **parameters: Any) -> dict:
        """One call of the protocol; events that arrive meanwhile are noted."""
        number = self._send(method, parameters)
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _send(self, method: str, parameters: dict, session: str | None = None) -> int:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return self.number

    def _note(self, event: str | None, said: dict) -> None:
        match event:
            case "Target.attachedToTarget":  # a worker, whose console and requests count too
                for method in ("Runtime.enable", "Network.enable"):
                    self._send(method, {}, said["sessionId"])
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.problems.append(" ".join(str(one.get("value", one.get("description"))) for one in said["args"]))
            case "Runtime.exceptionThrown":
                self.problems.append(str(said["exceptionDetails"].get("exception", {}).get("description")))
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.problems.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
            case "Inspector.targetCrashed":
                raise RuntimeError("the page has crashed")
            case "Network.loadingFinished":
                self.bytes += said["encodedDataLength"]

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def ask_for(self, dark: bool = False, calm: bool = False) -> None:
        """What the reader has asked their system for."""
        wanted = {"prefers-color-scheme": "dark" if dark else "light"}
        wanted["prefers-reduced-motion"] = "reduce" if calm else "no-preference"
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, a promise's when it is kept."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", str(result)))
        return result["result"].get("value")

    def holds(self, condition: str) -> bool:
        """Whether an expression is true; not of a page that went away while it was asked."""
        try:
            return self.run(f"Boolean({condition})")
        except RuntimeError as error:
            if not any(said in str(error) for said in LEFT):
                raise
            return False

    def until(self, condition: str, seconds: float = ANSWER) -> None:
        """Wait for an expression to become true, on the page that is open or on the one that takes its place."""
        end = time.monotonic() + seconds
        while not self.holds(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds} s it is not true that {condition}")
            time.sleep(GLANCE)

    def click(self, selector: str) -> None:
        """The mouse, on what a person sees in the middle of an element.

        Raises:
            RuntimeError: something else lies over it.
        """
        x, y, free = self.run(f"""(() => {{
            const one = document.querySelector({json.dumps(selector)});
            one.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = one.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            return [x, y, one.contains(document.elementFromPoint(x, y))];
        }})()""")
        if not free:
            raise RuntimeError(f"{selector} is covered by something else")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        """A key, such as ("Tab", 9), as from a keyboard."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def picture(self, path: str | Path, whole: bool = False) -> None:
        """A screenshot as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))
