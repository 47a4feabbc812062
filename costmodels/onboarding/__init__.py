"""A new device from few measurements: what is known of other devices, a plan, a fit, and a model that can be kept.

arch_space, chain_space, cell_space   spaces whose networks are measured whole
known, known_file, known_csv          devices that are known already: in the store, in published files, in a table
sources, pool                         their own models, kept between runs, over the architectures that are looked at
onboard, verdict, picture             plan, measure, fit, and what the result is worth
portable, portable_file               the fitted model as two arrays, without the fleet that made it
kernel_*                              the same for kernels: a predictor of another device, moved by a few kernels
"""
