"""Measuring next what matters most: a campaign that stops when the table is good enough.

adaptive       the campaign: measure, learn, estimate, choose
lut_survey     the table in the making
error_model, lut_error   how the errors of cells hang together, and how wrong the table is expected to be
"""
