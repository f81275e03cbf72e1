"""Jobs that start with their libraries loaded: a process that has imported them forks once a job.

Importing torch, pandas, scikit-learn and anndata takes one to three seconds of CPU, as long as many jobs compute. While
Snakemake runs jobs on its own machine it keeps one `server` that has them; the ``stflow`` command then is a `client`
that hands over its words, folder, environment and streams, and waits. The child of the fork is a process like any
other: what it computes, what it writes and how it may be killed are the same. Where there is no server, the wrong one,
or a GPU to be used, the command runs by itself.
"""
