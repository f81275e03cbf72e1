# Intervals, tests between methods, and what one protocol gains over the other.
