"""Workload → honest numbers: ONNX builders, identity, runtimes, the runner, sampling, records.

operators, blocks   build ONNX graphs
weights, identity, workload, kernels   describe them
runner (its own process), client, protocol, measure, statistics   time them
records, errors     what comes out
protobuf            what boards read of a graph without the onnx package
"""
