"""Where heavy work of the server side runs: in this process, in others of this machine, or on a Dask cluster.

pool              the role, what it promises, and how results are put in order again
in_process        the pool that has nobody else
local_processes   processes of this machine
dask_cluster      workers of a Dask cluster
dask_boosting     LightGBM's trainer there; dask and distributed are imported by these two alone
worker_facts      what has to be the same on all machines for the same work to give the same bits
chosen            from what a person asked for to a pool
contract          what every pool must do, to be subclassed by tests
"""
