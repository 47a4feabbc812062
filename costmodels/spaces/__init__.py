"""Search spaces as data (one TOML file each), and the parts that ``space.py`` puts together.

cell     one block at one input shape
coding   architectures between their numeric and their native form
"""
