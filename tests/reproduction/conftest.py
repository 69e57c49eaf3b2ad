"""What several files of these tests read."""

import pytest

from reproduction.report import PaperReport
from tests.subprocess_tools import PROJECT_ROOT


@pytest.fixture(scope="session")
def of_today() -> PaperReport:
    """The report of the scores that are kept."""
    report = PaperReport()
    report.read(PROJECT_ROOT / "results")
    return report
