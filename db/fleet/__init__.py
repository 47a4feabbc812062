"""A fleet's part of the store: who may come in (access), its boards (agents, selector), who works on what (leases,
results), models and traces (blobs), what people see and steer (jobs), who is woken (wakeup). ``door`` is the way in.
"""
