"""envkit: AI training and serving environments that work, as a container or as a venv."""

__version__ = "0.1.0"
