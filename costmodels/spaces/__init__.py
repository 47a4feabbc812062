"""Search spaces as data (one TOML file each), and the parts that ``space.py`` puts together.

Reading a file
    table         a TOML table whose faults are reported with file, layer, field and remedy
    choices       choices that several layers share, and how fields look at them
    candidates    what may stand at one place
    kinds         the kinds of block, as data
    block_reader  the fields of one candidate to a block
    layers        the walk through the layers
    plan          what one repetition of a layer may be
    flow          what a place hands on, by the choices before it
    cell_graphs   cells that are graphs: NAS-Bench-201, DARTS
A space
    cell          one block at one input shape
    slots         places whose cells depend on several choices; the tables that prices are summed from
    wiring        cells to one ONNX graph
    coding        architectures between their numeric and their native form
"""
