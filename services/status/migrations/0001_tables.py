"""The tables of runs; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0001"
down_revision = None

upgrade = sql_file(__file__)
