"""Workers: claim, pack into batches, predict, store. One process a device."""
