"""Live adapters: a table asked by somebody's search while it runs, instead of a file. One module for each consumer.

torch_cost          expected latency or energy as a differentiable torch module: FBNet, ProxylessNAS, DARTS
optuna_trials       architectures as Optuna's parameters, their latency as an objective
pymoo_problem       architectures as integer genes, their latency as an objective or a constraint
archai_evaluator    latency as archai's objective or constraint, and as a column of its surrogate
nni_profiler        latency of NNI's samples, and its expectation over distributions of them
nn_meter_slot       a trained predictor where NNI has nn-Meter's
syne_tune_blackbox  latency as an objective of Syne Tune's simulated backend
labels              the choices of a space by label and value, which three of them share

Each imports its package and none is imported by the rest of edgecost.
"""
