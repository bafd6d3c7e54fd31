"""Matrix and locks turned into Dockerfiles and compose files; pure."""
