"""What people see of a hub in a browser: rendered here, without a script from elsewhere, and readable without any.

sign_in     a person's token in a cookie, and who may do what
views       boards and campaigns: what a page shows, as records; the same as JSON with ``?format=json``
workloads   a graph wherever it was measured, and one measurement
models      cards of models as pages
growth      what more measurements bring to a model: sample-efficiency, and what to measure next
kept        what was read of models, until they change
commands    the command that measures what is missing, ready to copy
tables      lookup tables as heat maps, and as files
auditing    a table against the whole networks that were measured
comparing   two selections of measurements
asking      a model that was dropped on a page → its price on every device that has a predictor
charts      places of dots and lines; the drawing is a template
rendering   views → pages; refusals too
routes      which page stands where
"""

from .routes import page_routes

__all__ = ["page_routes"]
