"""Tables and figures, each from files of an earlier stage alone."""
