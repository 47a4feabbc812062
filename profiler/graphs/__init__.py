"""Graphs as ONNX: operators, blocks, reference networks, and what is made of a graph before it is measured."""
