"""
Who loads partitions: threads, processes or Dask, with a bound on bytes and connections.

May import the packages of the three servers. Must not know what a run does with the outcomes.
"""
