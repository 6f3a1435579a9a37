"""What a run learns: an embedding, landmarks, or detection."""
