"""What a model promises, beside what is observed: by kinds of faces, under damage, with several photographs."""
