"""What handlers may use. `app` builds it; nothing here builds anything."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgspec
from imagineo.blobs import Blobs
from imagineo.telemetry.readiness import Readiness
from imagineo.wire.image_urls import UrlSigner
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.admission import Admission
from services.gateway.authentication import Gatekeeper
from services.gateway.batch_admission import BatchAdmission
from services.gateway.contact_sheet import ContactSheets
from services.gateway.downloads import Downloads
from services.gateway.following import Following
from services.gateway.large_bodies import LargeBodies
from services.gateway.peers import Peers
from services.gateway.resolution import Resolver
from services.gateway.retraction import Retraction
from services.gateway.samples import Samples
from services.gateway.settings import GatewaySettings
from services.gateway.sources import Sources
from services.gateway.together import Together
from services.gateway.uploads import Uploads
from services.gateway.vigil import Vigil
from services.gateway.warmth import Warmth


@dataclass(frozen=True, slots=True)
class Parts:
    """The gateway's parts, wired."""

    settings: GatewaySettings
    peers: Peers
    gatekeeper: Gatekeeper
    admission: Admission
    together: Together
    batch_admission: BatchAdmission
    large_bodies: LargeBodies
    contact_sheets: ContactSheets
    downloads: Downloads
    sources: Sources
    uploads: Uploads
    following: Following
    vigil: Vigil
    retraction: Retraction
    resolver: Resolver
    samples: Samples
    warmth: Warmth
    blobs: Blobs
    signer: UrlSigner
    readiness: Readiness
    draining: asyncio.Event
    """Set at SIGTERM: readiness says no, and connections close after their answer."""
    openapi: bytes
    llms: bytes

    def public_url(self, request: Request) -> str:
        """What URLs in an answer begin with."""
        if self.settings.public_url:
            return self.settings.public_url.rstrip("/")
        return f"{request.url.scheme}://{request.headers.get('host', self.settings.listen)}"

    def drain(self) -> None:
        """Begin to end: readiness says no, and waits and streams end."""
        self.draining.set()
        self.following.end()

    def now_s(self) -> float:
        """Unix time in seconds."""
        return time.time()


def json_response(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status_code=status, headers=headers, media_type="application/json")
