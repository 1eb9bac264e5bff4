"""A model hub of this machine: what `huggingface_hub` asks of one, over HTTP, and a note of what files were sent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


class ModelHub:
    """Serves the folders below one as models `owner/name`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[str] = []
        """Paths of the weights whose bytes were sent."""
        self.url = ""

    def files(self, name: str) -> list[Path]:
        """The files of one model."""
        return sorted(path for path in (self.folder / name).rglob("*") if path.is_file())


class _Handler(BaseHTTPRequestHandler):
    hub: ModelHub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Tell of a model, or send a file."""
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and self.hub.files("/".join(parts[2:4])):
            tell = self._tree if parts[4:5] == ["tree"] else self._model
            return self._send(json.dumps(tell("/".join(parts[2:4]))).encode(), {}, with_body=with_body)
        path = self.hub.folder.joinpath(*parts[:2], *parts[4:])
        if parts[2:3] != ["resolve"] or not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        is_large = path.suffix == ".safetensors"
        if with_body and is_large:
            self.hub.sent.append("/".join(parts[4:]))
        etag = hashlib.sha256(content).hexdigest() if is_large else hashlib.sha1(content).hexdigest()  # noqa: S324
        return self._send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body=with_body)

    def _send(self, content: bytes, headers: dict[str, str], *, with_body: bool) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _model(self, name: str) -> dict[str, Any]:
        siblings = [_sibling(path, self.hub.folder / name) for path in self.hub.files(name)]
        return {"_id": "1", "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}

    def _tree(self, name: str) -> list[dict[str, Any]]:
        """What whoever copies the whole model asks for: the same of each file, in other words."""
        found = [_sibling(path, self.hub.folder / name) for path in self.hub.files(name)]
        for file in found:
            file |= {"type": "file", "path": file["rfilename"], "oid": file["blobId"]}
            if "lfs" in file:
                file["lfs"]["oid"] = file["lfs"]["sha256"]
        return found


def _sibling(path: Path, folder: Path) -> dict[str, Any]:
    content = path.read_bytes()
    found: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(content), "blobId": "b" * 40}
    if path.suffix == ".safetensors":
        sha256 = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
    return found


@contextlib.contextmanager
def model_hub(folder: Path) -> Iterator[ModelHub]:
    """Serve on a free port while the block runs."""
    hub = ModelHub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
