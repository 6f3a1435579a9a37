"""Models compared on live traffic, and changed without enrolling anybody again."""
