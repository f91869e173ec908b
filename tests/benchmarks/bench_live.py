"""How long a reader waits for a video in the browser, from the press of the button, with one thread and with several.

    python -m tests.benchmarks.bench_live [--rounds 5] [--further 3] [--steps quick]

`make book` comes first, and the machine should have nothing else to do. Each round opens the live page of the built
book in a new Chromium twice, so that nothing is cached: from a server of plain files (one thread), and from that of
`make serve` (several, where the machine has them). What is downloaded comes from the same machine. Times are those of a
clock, medians over rounds with the least and the most; "differs" is the largest difference of a pixel (0 to 1) of the
first video from PyTorch's.
"""

import argparse
import statistics
import threading
from collections import defaultdict

from lfdm_lite import LFDM, asset
from webpage.serve import server

from ..chromium import Chromium
from ..test_live_page import LABEL, PICTURE, SEED, Plain, WithThreads, begin, made, make
from ..test_site import SITE

SERVERS = {"plain files": Plain, "make serve": WithThreads}
LISTEN = """(() => {
    const page = document.querySelector('#live').page;
    page.times = {};
    for (const name of ['on_ready', 'on_video']) {
        const before = page[name].bind(page);
        page[name] = (said) => {
            page.times[name] = { since: performance.now() - page.began, bytes: said.bytes, threads: said.threads };
            before(said);
        };
    }
})()"""
TIMES = "document.querySelector('#live').page.times"


def look(kind: type, steps: str, further: int) -> tuple[dict[str, float], object]:
    """Seconds of one new reader, how many threads and MB there were, and the first video."""
    running = server(0, SITE, kind)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        with Chromium() as page:
            begin(page, f"http://127.0.0.1:{running.server_port}/chapters/live.html")
            page.run(LISTEN)
            page.run(f"document.querySelector('#live').page.steps.value = '{steps}'")
            make(page)
            ready, first = page.run(f"{TIMES}.on_ready"), page.run(f"{TIMES}.on_video")
            video, more = made(page), []
            for count in range(further):
                make(page, 2 + count)
                more.append(page.run(f"{TIMES}.on_video")["since"] / 1000)
    finally:
        running.shutdown()
        running.server_close()
    loaded, seen = ready["since"] / 1000, first["since"] / 1000
    facts = {"threads": ready["threads"], "MB": ready["bytes"] / 1e6, "loading": loaded}
    return facts | {"first, loaded": seen - loaded, "first": seen, "further": statistics.median(more)}, video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--further", type=int, default=3, help="videos after the first, of which the median counts")
    parser.add_argument("--steps", default="quick", help="what the page's field offers: quick, or 4, 8, 12, 20 ...")
    options = parser.parse_args()
    way = {"fast": True} if options.steps == "quick" else {"steps": int(options.steps)}
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))
    wanted = model.generate(PICTURE, LABEL, seed=SEED, progress=False, **way).video[0]
    rounds = {name: defaultdict(list) for name in SERVERS}
    for _ in range(options.rounds):
        for name, kind in SERVERS.items():
            facts, video = look(kind, options.steps, options.further)
            facts["differs"] = (video.view(wanted.shape) - wanted).abs().max().item()
            for fact, value in facts.items():
                rounds[name][fact].append(value)
    columns = list(rounds["plain files"])
    print("| server |", " | ".join(columns), "|")
    print("|---" * (1 + len(columns)) + "|")
    for name, facts in rounds.items():
        cells = (f"{statistics.median(of):.3g} ({min(of):.3g} to {max(of):.3g})" for of in facts.values())
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
