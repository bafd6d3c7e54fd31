"""What goes with what: the compatibility matrix, read, checked and decided upon."""
