"""Radio interop: the floor of each patch, the bridge that decides by it, the event history."""
