"""Who is told of every decision: the audit log, the metrics and receivers of webhooks."""
