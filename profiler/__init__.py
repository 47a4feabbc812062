"""Workload → honest numbers: ONNX builders, identity, runtimes, the runner, sampling, records.

operators, blocks   build ONNX graphs
weights, identity, workload, kernels   describe them
runner (its own process), client, protocol, measure, statistics   time them
records, errors     what comes out
documents, fleet_protocol   records on the wire, and what boards and hubs say to each other
onnx_gate (onnx_wire, onnx_functions)   what a model may not do before a runtime sees it
protobuf            what boards read of a graph without the onnx package
"""
