"""`hutong demo`: a whole district on one machine, built through the public API."""
