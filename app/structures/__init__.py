"""Structure files, from untrusted bytes to a physical structure."""
