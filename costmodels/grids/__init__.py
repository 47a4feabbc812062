"""Grids of cells: products of block parameters, too many to build and optimise one by one.

``grid_file`` reads a grid, ``cells`` enumerates it, ``learning`` finds out which kernels its cells become and checks it
against the runtime's own optimiser, ``pricing`` prices them in batches, and ``fill`` writes the table.
"""
