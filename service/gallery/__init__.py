"""Who is enrolled: records and templates behind one interface. No web, no inference, no threshold of its own."""
