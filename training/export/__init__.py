"""From a checkpoint to a published model folder."""
