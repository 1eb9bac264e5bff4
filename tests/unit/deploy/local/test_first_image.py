from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import first_image
from deploy.local.first_image import FirstImageError


@contextmanager
def gateway_that_never_ends_a_run(asked: list[str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(f"{self.command} Prefer: {self.headers['Prefer']}")

        def do_GET(self) -> None:
            self._answer(self.command)

        def _answer(self, seen: str) -> None:
            asked.append(seen)
            body = json.dumps({"run_id": "gen_1", "status": "running"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_a_first_picture_that_never_comes_is_a_plain_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_image, "WITHIN_S", 0.3)
    monkeypatch.setattr(first_image, "_POLL_S", 0.05)
    asked: list[str] = []

    with (
        gateway_that_never_ends_a_run(asked) as url,
        pytest.raises(FirstImageError, match=r"running after 0 s.*worker"),
    ):
        await first_image.draw(url, "imag_key", "model_1", tmp_path / "first.png")

    assert asked[0] == "POST Prefer: wait=30"
    assert asked[1] == "GET"
    assert not (tmp_path / "first.png").exists()


def test_waiting_for_the_first_picture_cannot_use_up_the_plans_requests() -> None:
    assert 60 / first_image._POLL_S <= 100 - 20
