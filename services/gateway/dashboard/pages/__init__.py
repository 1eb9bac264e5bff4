"""A file for each place of the dashboard: what its pages show and what their forms do. Templates repeat the names."""
