"""What 8-bit arithmetic makes of a student: its ranges made equal, found, and rounded to while it is trained."""
