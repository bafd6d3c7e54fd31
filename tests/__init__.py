"""The tests: see `./dev test`."""
