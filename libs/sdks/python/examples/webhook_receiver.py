"""A webhook receiver: verifies each event, keeps the picture of a completed run, answers fast and each event once.

usage: IMAGINEO_WEBHOOK_SECRET=whsec_… python webhook_receiver.py 8100 pictures/
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from imagineo_client import Imagineo, WebhookVerificationError, verify_webhook
from imagineo_client.types.answers import Generation

LARGEST_BYTES = 1_000_000


class Receiver(ThreadingHTTPServer):
    """Knows the secret, the folder, and which events it has had."""

    def __init__(self, port: int, secret: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Hook)
        self.secret = secret
        self.folder = folder
        self.seen: set[str] = set()

    def keep(self, generation: Generation) -> None:
        """Fetch the picture: its link is good for a while, and needs no key."""
        if generation.status == "completed" and generation.image_url is not None:
            with Imagineo() as client:
                picture = client.download(generation.image_url)
            path = self.folder / f"{generation.run_id}.{picture.format}"
            path.write_bytes(picture)
            print(path, flush=True)


class Hook(BaseHTTPRequestHandler):
    """One request."""

    server: Receiver

    def do_POST(self) -> None:
        """Verify before anything is believed; answer before the picture is fetched."""
        size = int(self.headers.get("Content-Length", "0"))
        if size > LARGEST_BYTES:
            self.send_error(413)
            return
        body = self.rfile.read(size)
        try:
            event = verify_webhook(body, dict(self.headers.items()), self.server.secret)
        except WebhookVerificationError as problem:
            self.send_error(400, str(problem))
            return
        self.send_response(204)
        self.end_headers()
        event_id = self.headers["webhook-id"]
        if event_id not in self.server.seen and isinstance(event.data, Generation):
            self.server.seen.add(event_id)
            Thread(target=self.server.keep, args=(event.data,)).start()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing of each request."""


if __name__ == "__main__":
    if len(sys.argv) != 3 or "IMAGINEO_WEBHOOK_SECRET" not in os.environ:
        sys.exit(__doc__)
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with Receiver(int(sys.argv[1]), os.environ["IMAGINEO_WEBHOOK_SECRET"], folder) as receiver:
        print(f"http://127.0.0.1:{receiver.server_port}", flush=True)
        receiver.serve_forever()
