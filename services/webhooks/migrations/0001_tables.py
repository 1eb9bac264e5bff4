"""The first tables: endpoints, organizations' own secrets, deliveries."""

from __future__ import annotations

from imagineo.postgres.migrations import sql_file

revision = "0001"
down_revision = None

upgrade = sql_file(__file__)
