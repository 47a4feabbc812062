"""Live adapters: a table asked by somebody's search while it runs, instead of a file. One module for each consumer.

torch_cost      expected latency or energy as a differentiable torch module: FBNet, ProxylessNAS, DARTS
optuna_trials   architectures as Optuna's parameters, their latency as an objective
pymoo_problem   architectures as integer genes, their latency as an objective or a constraint

Each imports its package and none is imported by the rest of edgecost.
"""
