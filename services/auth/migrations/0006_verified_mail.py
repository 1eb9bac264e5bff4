"""Whose mail address is proven, and the links that prove one; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0006"
down_revision = "0005"

upgrade = sql_file(__file__)
