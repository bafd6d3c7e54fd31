"""Facts of a machine turned into findings: what is wrong with it, before a job meets it."""
