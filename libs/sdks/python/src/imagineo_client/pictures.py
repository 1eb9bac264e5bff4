"""A picture's file as bytes, which notebooks show and Pillow opens where it is there."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


class Picture(bytes):
    """The bytes of a PNG, WebP or JPEG file."""

    @property
    def format(self) -> str:
        """`png`, `webp`, `jpeg`, or nothing where it is none of them."""
        if self.startswith(b"\x89PNG"):
            return "png"
        if self[:4] == b"RIFF" and self[8:12] == b"WEBP":
            return "webp"
        return "jpeg" if self.startswith(b"\xff\xd8") else ""

    def pil(self) -> Image.Image:
        """The same as an image of Pillow.

        Raises:
            ImportError: without Pillow, which comes with `imagineo-client[pillow]`.
        """
        try:
            from PIL import Image  # noqa: PLC0415 - optional
        except ImportError as problem:
            raise ImportError("Pillow is needed: pip install 'imagineo-client[pillow]'") from problem
        return Image.open(BytesIO(self))

    def _repr_mimebundle_(self, **_: object) -> dict[str, bytes]:
        return {f"image/{self.format or 'png'}": bytes(self)}

    def __repr__(self) -> str:
        return f"<Picture {self.format or 'of an unknown format'}, {len(self)} bytes>"
