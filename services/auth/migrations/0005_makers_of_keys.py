"""Who made a key, and which users are let in no more; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0005"
down_revision = "0004"

upgrade = sql_file(__file__)
