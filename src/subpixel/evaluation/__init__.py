"""How good an enlargement is, measured as the super-resolution tables do."""
