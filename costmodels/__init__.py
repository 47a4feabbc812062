"""Measurements → datasets → predictors → LUTs → files that other people's search code reads.

space*, spaces/        search spaces, as data
campaign, *_plan, *_campaign   what to measure, and carrying it out
fleet/                 the same on the boards of a fleet, and their table
compute/               where heavy work runs: here, in processes, on a Dask cluster
dataset, features, roofline, prices, kernel_*, predictor*, training*   cost models
conformal, coverage, validation, error_spread, population   how far a prediction may be trusted
correction, control_flow, work_rules/   from nodes to whole networks
trees/                 gradient boosted trees as files, fast and without LightGBM
metrics/               what is predicted beside latency: energy, peak memory
cards/                 model cards, and whether a predictor still fits its device
space_models/, onboarding/   models over architectures, few-shot from other devices
active/                measuring only where a LUT is uncertain
simulated/             searching without the device: simulation, proxies
lut, lut_build, lut_formats/   lookup tables
lut_audit, lut_correction, lut_attribution, lut_diff   whether their sums are true, and where two differ
lut_pricing, lut_search, advice, recognition, adapters/   what is done with them
quickstart             all of it in one go
"""
