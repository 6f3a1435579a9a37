"""What the process runs on: the bounded executor, timing, threads, memory, descriptors, logs, commands."""
