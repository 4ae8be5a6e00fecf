"""Batches: what was sent is unpacked in a sandbox, then expanded into jobs by a process of its own."""
