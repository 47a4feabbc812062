"""Cost models of architecture-indexed spaces: from the operator at each place of a network to its latency.

encoding               architectures → groups of feature columns
ridge, residual, intervals, space_model*   one device: table, trees on its honest residual, intervals, the public face
fleet, stack           devices that are known already, and what a mixture of them says of a new one
prior_design, branches, lattice_prior, bayes_lut   a new device from a few samples: what is believed before, and after
experts, linear_form, few_shot_intervals           which belief to follow, as a table, and how sure it is
plan, efficiency       which samples to measure, and what more of them would bring
"""
