"""`/api/v1` as CompreFace 1.2 speaks it, on the same engine, gallery, keys and decisions as `/v1`.

Its wire shape is that of Exadel CompreFace (Apache-2.0), by its published REST description and its clients.
"""
