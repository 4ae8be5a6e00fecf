"""How the numbers that ship with the models were made. Nothing here runs in the service."""
