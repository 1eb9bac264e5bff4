"""The routes, one a line: method, path, handler, what `/openapi.json` says, what the key needs."""

from __future__ import annotations

from typing import Final

from imagineo.v1.account_pb2 import (
    PERMISSION_GENERATIONS_READ,
    PERMISSION_GENERATIONS_WRITE,
    PERMISSION_MODELS_READ,
    PERMISSION_USAGE_READ,
)

from services.gateway.dispatch import Row
from services.gateway.endpoints import base_models, generate, generations, health, images, limits, models, openapi

# fmt: off
ROUTES: Final = (
    Row("POST", "/v1/generate", generate.submit, generate.SUBMIT, PERMISSION_GENERATIONS_WRITE, admits_itself=True),
    Row("GET", "/v1/generations/{run_id}", generations.read, generations.READ, PERMISSION_GENERATIONS_READ),
    Row("POST", "/v1/generations/{run_id}/cancel", generations.cancel, generations.CANCEL, PERMISSION_GENERATIONS_WRITE),
    Row("GET", "/v1/generations", generations.list_all, generations.LIST, PERMISSION_GENERATIONS_READ),
    Row("GET", "/v1/models", models.list_all, models.LIST, PERMISSION_MODELS_READ),
    Row("GET", "/v1/models/{model_id}", models.read, models.READ, PERMISSION_MODELS_READ),
    Row("GET", "/v1/base-models", base_models.list_all, base_models.LIST, PERMISSION_MODELS_READ),
    Row("GET", "/v1/limits", limits.read, limits.READ, PERMISSION_USAGE_READ),
    Row("GET", "/images/{name}", images.read, images.READ),
    Row("GET", "/healthz", health.alive, health.ALIVE),
    Row("GET", "/readyz", health.ready, health.READY),
    Row("GET", "/openapi.json", openapi.read, openapi.READ),
)
# fmt: on
