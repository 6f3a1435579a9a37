"""What commands share at the terminal: lists, progress, the options that several take, and what they open."""
