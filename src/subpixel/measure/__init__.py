"""One meaning of "faster", of "equal", and of the machine that says so."""
