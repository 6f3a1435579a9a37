"""Training for minutes on a lent accelerator: what travels there, and the one script that runs there."""
