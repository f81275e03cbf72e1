"""Training and prediction of one run: whatever the method, the same files."""
