"""Adapters speak to devices and radios. `base` is the seam, `catalog` the table of kinds."""
