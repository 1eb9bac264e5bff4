"""What the services share in front of their Postgres schemas: the pool, SQL files and migrations."""
