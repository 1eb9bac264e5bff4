"""auth: organizations, their keys and plans, the request limit and the image quota. It leaves runs to status."""
