"""A simulated DMR repeater that speaks the Homebrew protocol, with radios on it."""

from simulators.homebrew_repeater.radio import Radio
from simulators.homebrew_repeater.reception import Heard
from simulators.homebrew_repeater.repeater import LinkState, Repeater
from simulators.homebrew_repeater.wire import Station

__all__ = ["Heard", "LinkState", "Radio", "Repeater", "Station"]
