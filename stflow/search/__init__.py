"""Search for a method's settings: a grid of candidates, trained by rungs, chosen on select slides."""
