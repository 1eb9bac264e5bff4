"""Pictures of one's own, to begin from."""

from __future__ import annotations

from imagineo_client.calls import Call, file_of
from imagineo_client.files import File, Form, Progress
from imagineo_client.sync.transport import Transport
from imagineo_client.types.answers import Upload


class Uploads:
    """`client.uploads`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, file: File, *, on_progress: Progress | None = None) -> Upload:
        """Send a PNG, JPEG or WebP, by its path or as bytes."""
        return self._transport.answer(
            file_of("/v1/uploads", Upload, Form(file, on_progress=on_progress), "picture_file_limit_bytes")
        )

    def get(self, upload_id: str) -> Upload:
        """Read one."""
        return self._transport.answer(Call("GET", f"/v1/uploads/{upload_id}", Upload))

    def delete(self, upload_id: str) -> None:
        """Delete one for good."""
        self._transport.done(Call("DELETE", f"/v1/uploads/{upload_id}", type(None)))
