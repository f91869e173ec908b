"""Show the built book at http://localhost:8000, with the headers by which a page may compute with several threads.

Any other server of plain files does too; then the live page computes with one thread.
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).parents[1] / "_build" / "html"
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Isolated(SimpleHTTPRequestHandler):
    """Files, and with each the headers of isolation."""

    def end_headers(self) -> None:
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()


def server(port: int, folder: Path = SITE, handler: type[SimpleHTTPRequestHandler] = Isolated) -> ThreadingHTTPServer:
    """A server for this computer alone; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(handler, directory=folder))


if __name__ == "__main__":
    with server(int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as running:
        print(f"http://localhost:{running.server_port}")
        running.serve_forever()
