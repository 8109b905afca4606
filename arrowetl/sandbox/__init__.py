"""
Private servers and a synthetic OpenDental, for the demo, the tests and the benchmarks.

`servers` starts and stops them, `opendental` invents the rows, `seed` loads
them. Nothing in the package proper imports this but the command line.
"""
