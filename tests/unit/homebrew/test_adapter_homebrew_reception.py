"""What is told of how a talk was received."""

from adapters.homebrew.reception import PROTECTED_BITS, Reception


def test_level_and_errors_are_means_over_the_bursts_that_tell_them() -> None:
    reception = Reception()
    for quality in (bytes((3, 90)), bytes((0, 95)), b"", bytes((0, 0))):
        reception.note(quality)
    assert reception.rssi_dbm == -92.5
    assert reception.bit_error_percent == round(100 * 3 / (3 * PROTECTED_BITS), 2)
    assert reception.loss_percent(5) == 20.0


def test_what_nobody_measured_is_not_known() -> None:
    reception = Reception()
    reception.note(b"")
    reception.note(bytes((0, 0)))
    assert (reception.rssi_dbm, reception.bit_error_percent) == (None, None)
    assert reception.loss_percent(2) == 0.0
    assert Reception().loss_percent(0) is None


def test_errors_without_a_level_are_errors() -> None:
    reception = Reception()
    reception.note(bytes((14, 0)))
    assert reception.bit_error_percent == round(100 * 14 / PROTECTED_BITS, 2)
