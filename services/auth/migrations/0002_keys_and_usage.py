"""Bounds of keys, usage by day, and settings of organizations; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0002"
down_revision = "0001"

upgrade = sql_file(__file__)
