"""Zello: a client of the Zello Channel API over a WebSocket."""
