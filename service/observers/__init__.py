"""Who is told of every decision: the audit log and the metrics."""
