"""The dashboard: what was recorded, seen in a browser.

Every page is made here, by the questions of `analytics`, and served as HTML and as JSON. Nothing comes from another
host and nothing is built: templates, one style sheet, and small modules of JavaScript for what a page cannot do itself.
What agents said is text and never markup: templates escape it, scripts set `textContent`, and a policy forbids scripts
and styles inside of pages.
"""
