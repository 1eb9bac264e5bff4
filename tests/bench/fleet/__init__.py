"""A fleet by simulation: the platform's own rules of scheduling, residency and scaling over a day of traffic.

An event loop of a heap, not a library of processes: a generator to resume for each event costs several times the event.
"""
