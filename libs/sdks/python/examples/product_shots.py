"""Product shots in bulk: a CSV of products becomes a folder of pictures, named after each product's number.

usage: python product_shots.py products.csv shots/     # columns: sku, description; optional: seed
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from imagineo_client import Imagineo, ImagineoError
from imagineo_client.types.requests import BatchItem

STYLE = "{description}, product photo, plain background"


def shoot(products: Path, folder: Path, *, size: int = 512, steps: int = 20) -> int:
    """Draw every product; gives how many failed."""
    with products.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(not row.get(column) for row in rows for column in ("sku", "description")):
        raise ValueError(f"{products}: a line for each product, with the columns sku and description")
    items = [_item(row) for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with Imagineo() as client:
        batch = client.batches.create(items=items, defaults={"width": size, "height": size, "steps": steps})
        for result in batch.results():  # in the order in which they finish
            sku = rows[result.index]["sku"]
            if result.image_url is None:
                failed += 1
                print(f"{sku}: {result.status} {result.error.message if result.error else ''}")
                continue
            path = folder / f"{sku}.png"
            path.write_bytes(client.download(result.image_url))
            print(f"{sku}: {path}")
    return failed


def _item(row: dict[str, str]) -> BatchItem:
    prompt = STYLE.format(description=row["description"])
    item: BatchItem = {"positive_prompt": prompt, "metadata": {"sku": row["sku"]}}
    if row.get("seed"):
        item["seed"] = int(row["seed"])
    return item


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(1 if shoot(Path(sys.argv[1]), Path(sys.argv[2])) else 0)
    except (OSError, ValueError, ImagineoError) as problem:
        sys.exit(str(problem))
