"""The ledger between web and GPU: settings, records, queue, result cache, artifacts. No torch, no FastAPI."""
