"""A printed number stands beside ours only where it is the same cell."""

from __future__ import annotations

import pytest

from stflow.report.published import PUBLISHED, printed, printed_average


def test_the_file_is_here() -> None:
    assert PUBLISHED.is_file()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (("hest", "IDC", "uni", "stflow", "default", "paper"), (0.587, 0.003)),
        (("hest", "IDC", "uni", "random_forest", "default", "paper"), (0.52, 0.001)),
        (("hest", "IDC", "UNI", "random_forest", "default", "paper"), (0.52, 0.001)),
        (("hest", "READ", "gigapath", "stflow", "default", "paper"), (0.257, 0.006)),
        (("hest", "LYMPH_IDC", "ciga", "stflow", "default", "paper"), (0.308, 0.0)),
        (("hest", "IDC", "uni", "stflow", "default", "clean"), None),
        (("hest", "IDC", "uni", "stflow", "wo_fm", "paper"), None),
        (("hest", "IDC", "efficientnet_lite0", "stflow", "default", "paper"), None),
        (("hest", "IDC", "uni", "ridge", "default", "paper"), None),
        (("demo_hest", "IDC", "uni", "stflow", "default", "paper"), None),
        (("stimage", "Breast", "ciga", "stflow", "default", "paper"), None),
        (("hest", "NOT_A_TASK", "uni", "stflow", "default", "paper"), None),
    ],
)
def test_cells(cell: tuple[str, ...], expected: tuple[float, float] | None) -> None:
    assert printed(*cell) == expected  # type: ignore[arg-type]


def test_an_average_needs_all_its_datasets() -> None:
    tasks = ["IDC", "PRAD", "PAAD", "SKCM", "COAD", "READ", "CCRCC", "HCC", "LUNG", "LYMPH_IDC"]
    where = ("uni", "stflow", "default", "paper")
    assert printed_average("hest", tasks, *where) == 0.415
    assert printed_average("hest", tasks[1:], *where) is None
