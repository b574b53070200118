"""Agents run adapters: a supervisor for every device and system, a device and a radio agent."""
