"""The index in Milvus, which follows the database through an outbox."""
