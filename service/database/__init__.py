"""The database of record: transactions, schema, migrations, encryption. It knows no faces and no vectors' meaning."""
