"""How much GPU memory a model takes: its parameters to the last one, memory part by part, and what would fit; pure."""
