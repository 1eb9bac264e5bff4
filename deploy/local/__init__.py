"""The whole platform on one machine, as child processes of one supervisor: `python -m deploy.local`."""
