"""Vector indexes derived from the database: embedded (faiss), pgvector, Milvus."""
