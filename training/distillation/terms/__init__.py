"""Terms of a distillation loss: {tap, adapter, target, distance, weight}, freely combined."""
