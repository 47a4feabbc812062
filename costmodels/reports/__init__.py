"""Reports: what is known of a device, a campaign, a model or a comparison, as one page that needs nothing else.

page        what a report consists of, and how it becomes HTML, SVG and PNG
texts       numbers and times as they stand in it
drawings    pictures that more than one report has
device, campaign             what is read of them; device_page, campaign_page lay it out
model_page, comparison_page  lay out what cards and comparisons know already
"""
