"""A simulated Homebrew master, for those that sign in with one."""

from simulators.homebrew_master.master import HomebrewMaster

__all__ = ["HomebrewMaster"]
