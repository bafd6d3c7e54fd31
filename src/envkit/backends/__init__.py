"""Where an environment lives and an app runs."""
