"""A client of the REST interface for tests: one account, its requests, and the wait for a run's end."""

from __future__ import annotations

import time
from typing import Any, Self

import httpx

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S

TERMINAL = ("completed", "failed", "canceled", "expired")
# Small and few: what a test of the way of a request needs of a picture.
SMALL = {"width": 64, "height": 64, "steps": 4, "guidance": 5}


class Account:
    """An organization's key and a connection that uses it. Close it when done."""

    def __init__(self, url: str, key: str, *, organization_id: str = "", key_id: str = "") -> None:
        self.url = url
        self.key = key
        self.organization_id = organization_id
        self.key_id = key_id
        self.http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.http.get(path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """POST a JSON body."""
        return self.http.post(path, json=body, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        """DELETE."""
        return self.http.delete(path, **options)

    def lora(self) -> str:
        """The id of a LoRA that is there from the start."""
        return str(self.get("/v1/models").json()["models"][0]["id"])

    def base_model(self) -> str:
        """The id of the base model that is there from the start."""
        return str(self.get("/v1/base-models").json()["base_models"][0]["id"])

    def body(self, **fields: Any) -> dict[str, Any]:
        """A small valid request."""
        model_id = {} if "model_id" in fields else {"model_id": self.lora()}
        return {"positive_prompt": "a red mug", "seed": 7, **SMALL, **model_id, **fields}

    def submit(self, headers: dict[str, str] | None = None, **fields: Any) -> str:
        """Submit a small run; gives its id."""
        answer = self.post("/v1/generate", self.body(**fields), headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["run_id"])

    def generation(self, run_id: str) -> dict[str, Any]:
        """The run as it stands."""
        answer = self.get(f"/v1/generations/{run_id}")
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def until(self, run_id: str, *statuses: str, within_s: float = STARTED_WITHIN_S) -> dict[str, Any]:
        """Wait until the run is in one of the statuses, terminal ones if none is named; parts may be down meanwhile."""
        deadline = time.monotonic() + within_s
        last: object = None
        while time.monotonic() < deadline:
            try:
                answer = self.get(f"/v1/generations/{run_id}", timeout=SURELY_S)
                last = answer.json()
                if answer.status_code == 200 and last["status"] in (statuses or TERMINAL):
                    return dict(last)
                assert answer.status_code in (200, 503), answer.text
            except httpx.TransportError as away:
                last = away
            time.sleep(0.03)
        raise AssertionError(f"{run_id} is not {statuses or TERMINAL} within {within_s} s: {last}")

    def draw(self, **fields: Any) -> dict[str, Any]:
        """Submit and wait until it is completed."""
        generation = self.until(self.submit(**fields))
        assert generation["status"] == "completed", generation
        return generation

    def image(self, generation: dict[str, Any]) -> bytes:
        """The bytes of a completed run's picture."""
        answer = httpx.get(generation["image_url"], timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.content
