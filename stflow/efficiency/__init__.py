"""Time and memory of methods against the number of spots of a slide (the paper's figure 5 and table 6).

Every number comes from a process of its own, so that its peak of memory is honest. Methods are at their default
settings, the paper's, on one made slide on a Visium grid with random features, or random tiles for a method that reads
tiles. Features count as given, as in the paper: no encoder is run.
"""
