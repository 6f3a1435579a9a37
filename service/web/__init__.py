"""The page people look at: plain files, served as they are."""
