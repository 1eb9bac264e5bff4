"""Who made an invitation, so that it can end with their membership; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0004"
down_revision = "0003"

upgrade = sql_file(__file__)
