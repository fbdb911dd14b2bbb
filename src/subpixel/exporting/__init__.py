"""Networks in the forms that other programs run, one file a form; each has an `export`."""
