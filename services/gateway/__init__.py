"""The REST front of the platform: it translates, admits and streams; what it knows lives in the services behind it."""
