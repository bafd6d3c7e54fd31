"""A rented server made ready: steps that are data, chosen from host facts, run with a check before and after each."""
