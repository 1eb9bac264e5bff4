"""Batches: their items, those that wait for their turn, and the feeds that they are released from."""

from imagineo.postgres.migrations import sql_file

revision = "0005"
down_revision = "0004"

upgrade = sql_file(__file__)
