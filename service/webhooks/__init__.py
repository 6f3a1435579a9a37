"""Messages to receivers of webhooks: kept in the database, signed, delivered again until they are taken."""
