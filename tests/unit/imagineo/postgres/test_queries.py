"""SQL files are read into named statements, and a broken one is refused with its place."""

from __future__ import annotations

import pytest
from imagineo.postgres.queries import load

GOOD = """-- Statements of the orders.

-- name: insert_order
-- Locks: none.
INSERT INTO orders (id) VALUES ($1);

--name:count_orders
SELECT count(*)
FROM orders
"""


def write(folder, text):
    path = folder / "orders.sql"
    path.write_text(text)
    return path


def test_blocks_are_read_by_name_with_their_comments(tmp_path):
    assert load(write(tmp_path, GOOD)) == {
        "insert_order": "-- Locks: none.\nINSERT INTO orders (id) VALUES ($1);",
        "count_orders": "SELECT count(*)\nFROM orders",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1;\n-- name: one\nSELECT 1", "above the first"),
        ("-- name: one\nSELECT 1\n-- name: one\nSELECT 2", "twice"),
        ("-- name: one\n-- nothing but words\n-- name: two\nSELECT 2", "one has no statement"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, problem):
    with pytest.raises(ValueError, match=problem):
        load(write(tmp_path, text))
