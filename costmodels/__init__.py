"""Measurements → datasets → predictors → LUTs → files that other people's search code reads.

space*, spaces/        search spaces, as data
campaign, networks     what to measure for a space, and carrying it out
dataset, features, roofline, boosting, conformal, predictor*, validation   cost models
lut, lut_build, lut_formats/, correction   lookup tables, from cells to whole networks
quickstart             all of it in one go
"""
