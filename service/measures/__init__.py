"""The measures of face verification (ISO/IEC 19795-1), each written once: numpy in, numpy out, no models, no files."""
