"""The offline twin of live comparisons: models measured on photographs by the code that serves."""
