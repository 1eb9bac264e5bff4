"""Who may use a LoRA, what the check of its file found, its sample run; files that may be named by nobody."""

from imagineo.postgres.migrations import sql_file

revision = "0002"
down_revision = "0001"

upgrade = sql_file(__file__)
