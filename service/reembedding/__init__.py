"""A new model's templates for people who are enrolled already: from kept crops, or as they are seen again."""
