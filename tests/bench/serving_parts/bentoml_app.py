"""`bentoml serve tests.bench.serving_parts.bentoml_app:Draw`: the stock pipeline behind BentoML."""

import bentoml

from tests.bench.serving_parts.stock import BATCH, Stock


@bentoml.service(workers=1, traffic={"timeout": 600})
class Draw:
    """Draws batches."""

    def __init__(self) -> None:
        self.stock = Stock()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=600_000)
    def draw(self, requests: list[dict]) -> list[dict]:
        """One batch."""
        return [{"png": picture} for picture in self.stock.draw(requests)]
