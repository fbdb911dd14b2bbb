"""Many images: what goes where, and doing it. It is handed what to run."""
