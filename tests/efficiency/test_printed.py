"""What the paper prints of time, memory and parameters."""

from __future__ import annotations

from stflow.efficiency.printed import NAMES, printed_curve, printed_millions


def test_curves_end_where_memory_ran_out() -> None:
    curve = printed_curve("triplex")
    assert curve is not None
    assert curve.at(1000) == (3.8, 800.0)
    assert curve.at(30_000) is None
    assert (len(curve.points), curve.out_of_memory_at) == (4, 30_000)
    whole = printed_curve("stflow")
    assert whole is not None
    assert whole.out_of_memory_at is None
    assert printed_curve("ridge") is None
    assert printed_curve("bleep") is None


def test_five_methods_have_printed_parameters() -> None:
    printed = {name: printed_millions(name) for name in NAMES}
    assert printed == {"stnet": 0.051, "bleep": 0.67, "histogene": 149.046, "triplex": 13.767, "stflow": 1.147}
    assert printed_millions("ridge") is None
