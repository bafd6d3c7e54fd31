"""The jobs that prove an environment on this machine, and the report of them."""
