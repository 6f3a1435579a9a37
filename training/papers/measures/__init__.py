"""What is measured of a row of the papers: accuracy, identification, landmarks, and the same of an ensemble."""
