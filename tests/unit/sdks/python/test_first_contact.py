"""A platform that is not there is told at once; one that was there may come back."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest
from imagineo_client import ConnectionFailedError
from imagineo_client.command_line.first_contact import FirstContact


class Answering(BaseHTTPRequestHandler):
    """Says yes."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def test_only_a_refusal_at_the_first_request_ends_the_tries() -> None:
    with HTTPServer(("127.0.0.1", 0), Answering) as server, FirstContact() as client:
        url = f"http://127.0.0.1:{server.server_port}"
        serving = Thread(target=server.serve_forever)
        serving.start()
        assert client.get(url).status_code == 204
        server.shutdown()
        serving.join()
        server.server_close()

        with pytest.raises(httpx.ConnectError):  # which the client tries again
            client.get(url)
        with (
            FirstContact() as stranger,
            pytest.raises(ConnectionFailedError, match=rf"no connection to {url}: Connection refused\."),
        ):
            stranger.get(f"{url}/v1/limits?x=1")
