"""Image files to pixels, and what decoding them takes."""
