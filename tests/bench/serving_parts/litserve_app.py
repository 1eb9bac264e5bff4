"""`python -m tests.bench.serving_parts.litserve_app PORT`: the stock pipeline behind LitServe."""

import sys
from typing import Any

import litserve

from tests.bench.serving_parts.stock import BATCH, WAIT_S, Stock


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Draws batches."""

    def setup(self, device: str) -> None:
        self.stock = Stock()

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def predict(self, requests: list[dict[str, Any]]) -> list[str]:
        return self.stock.draw(requests)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output: str) -> dict[str, str]:
        return {"png": output}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WAIT_S, api_path="/draw")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=600).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1
    )
