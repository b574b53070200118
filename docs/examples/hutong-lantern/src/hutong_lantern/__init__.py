"""Lantern recorders for Hutong. There is no such recorder: its API is invented for the example."""
