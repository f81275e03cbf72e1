"""What the workflow asks about the paper's tables: what each reads, and what was run otherwise than in the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stflow.config_sections import DEFAULT_VARIANT
from stflow.layout import Group
from stflow.models import METHODS
from stflow.report.paper.tables import ABLATIONS, rows_of

if TYPE_CHECKING:
    from stflow.workflow import Plan


class PaperPlan:
    """The paper's tables of scores beside table 1.

    Attributes
    ----------
    tables
        Their names, in the paper's order.
    """

    tables = ("table2", *ABLATIONS)

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def groups(self, table: str) -> list[Group]:
        """The groups whose scores a table shows."""
        rows = rows_of(table)
        return [group for group in self._plan.groups() if (group.method, group.variant) in rows]

    def genes(self) -> list[str]:
        """benchmark/dataset/gene of every map, for table 2."""
        found = (f"{place.benchmark}/{place.dataset}/{place.gene}" for place in self._plan.figures.all_maps())
        return list(dict.fromkeys(found))

    def not_same(self) -> dict[str, str]:
        """Benchmark or method -> why its numbers are not of what the paper ran: other genes, other settings."""
        config = self._plan.config
        found = {
            name: "its genes are not the dataset's own list of 50"
            for name in config.benchmarks
            if name == "hest" and (config.genes_of(name).paper, config.genes_of(name).n) != ("official", 50)
        }
        for method in dict.fromkeys(method for method, _ in self._plan.methods):
            ours = config.settings_of(method, DEFAULT_VARIANT)
            if ours != METHODS.get(method).Settings() or config.searched is not None:
                found[method] = "its settings are not the defaults, which are the paper's"
        return found
