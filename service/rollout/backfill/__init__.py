"""Templates of a new model for people enrolled before it: from kept crops, or as they are seen again."""
