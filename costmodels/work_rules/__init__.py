"""How much work an operator does, from shapes and attributes alone: one module per family, one table of them all."""
