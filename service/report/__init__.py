"""A report on a model that an auditor accepts: what was measured on what, how sure it is, and what it cannot say."""
