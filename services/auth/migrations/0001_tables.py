"""The first tables: organizations, keys, request windows, image reservations and usage."""

from __future__ import annotations

from imagineo.postgres.migrations import sql_file

revision = "0001"
down_revision = None

upgrade = sql_file(__file__)
