"""Container images: `python -m deploy.docker lock|build|sbom`. The Dockerfile says what is in them."""
