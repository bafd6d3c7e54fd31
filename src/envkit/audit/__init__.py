"""An installed environment, looked at from inside without importing it, and what follows from what was seen."""
