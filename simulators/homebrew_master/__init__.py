"""A simulated Homebrew master, for those that sign in with one, and the end of an OpenBridge."""

from simulators.homebrew_master.master import HomebrewMaster
from simulators.homebrew_master.openbridge import OpenBridgeEnd

__all__ = ["HomebrewMaster", "OpenBridgeEnd"]
