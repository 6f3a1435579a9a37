"""The index of one process, on faiss: an exact memtable, compressed segments, and their files."""

import os

# One search, one thread: a server's parallelism comes from its requests, and a team of threads for each of them would
# spin for the same cores. OpenMP reads this once, when faiss is loaded; its call would hold for one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
