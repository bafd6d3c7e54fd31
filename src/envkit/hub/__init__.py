"""Models and data sets: what of their files is broken, and the ways from hubs and to them."""
