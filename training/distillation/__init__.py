"""Teachers, their targets, and the losses by which a student learns from them."""
