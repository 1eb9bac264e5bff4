"""A run's own webhook_url."""

from __future__ import annotations

from imagineo.postgres.migrations import sql_file

revision = "0004"
down_revision = "0003"

upgrade = sql_file(__file__)
