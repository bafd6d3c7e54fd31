"""A log becomes diagnoses: what broke, the lines that prove it, and what to do; pure but for reading the log."""
