"""Users, members, sessions, invitations, password resets and the audit log; the SQL stands beside this file."""

from imagineo.postgres.migrations import sql_file

revision = "0003"
down_revision = "0002"

upgrade = sql_file(__file__)
