"""Other people's networks, read as LR networks: one file for each form in which they come."""
