"""Tables, transactions, encryption: what a gallery keeps. Nothing here knows what a face or a vector is."""
