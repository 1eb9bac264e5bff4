"""Runs that their owner erased, and the steps that are done; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0003"
down_revision = "0002"

upgrade = sql_file(__file__)
