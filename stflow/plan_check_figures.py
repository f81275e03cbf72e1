"""What a configuration asks of maps and measurements that cannot be done, in words."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING

from stflow.config_sections import Biomarker
from stflow.models import METHODS
from stflow.plan_maps import known_genes
from stflow.training.settings import RegionTraining

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Genes that a message names in place of one that is not there.
_NAMED_GENES = 8


def problems_of_maps(plan: Plan) -> list[str]:
    """Maps of slides that no fold tests, of protocols that are not run, of genes that are known not to be predicted."""
    problems = []
    for key, entries in plan.figures.configured().items():
        for entry in entries:
            if problem := _problem_of(plan, key, entry):
                problems.append(problem)
        # The file of a map of one gene does not name the protocol; rows of a figure may be of both.
        protocols = [plan.figures.protocol_of(entry) if key != "biomarkers" else "" for entry in entries]
        names = [(e.benchmark, e.slide, e.gene, its) for e, its in zip(entries, protocols, strict=True)]
        twice = [name[:3] for name, n in Counter(names).items() if n > 1]
        problems += [f"figures.{key}: {'/'.join(name)} stands there more than once" for name in twice]
    rows = plan.figures.rows
    listed = ["/".join(row).removesuffix("/default") for row in plan.methods]
    for text, (method, variant, encoder) in zip(plan.config.figures.methods or [], rows.named(), strict=True):
        if not rows.predicted(method, variant):
            near = difflib.get_close_matches(text, listed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            problems.append(
                f"figures.methods: {text!r} is not among methods, nor predicted from the model of one of them.{hint}"
            )
        elif encoder and encoder not in plan.config.encoders_of(method, variant):
            its = ", ".join(plan.config.encoders_of(method, variant))
            problems.append(f"figures.methods: {text!r}: the method runs on {its} here")
    return list(dict.fromkeys(problems))


def _problem_of(plan: Plan, key: str, entry: Biomarker) -> str:
    """What is wrong with one map; empty if nothing is known to be."""
    protocol = plan.figures.protocol_of(entry)
    if protocol not in plan.config.protocols:
        which = "biomarker_protocol" if entry.protocol is None else key
        return f"figures.{which}: {protocol!r} is not among protocols"
    folds = plan.figures.testing(entry.benchmark, entry.slide, protocol)
    if not folds:
        return (
            f"figures.{key}: no fold of this configuration tests slide {entry.slide!r} of {entry.benchmark!r} under "
            f"the {protocol} protocol"
        )
    genes = known_genes(plan, entry.benchmark, folds[0][0], protocol)
    if genes is None or entry.gene in genes:
        return ""
    near = difflib.get_close_matches(entry.gene, genes, n=1, cutoff=0.75)
    hint = f" Did you mean {near[0]!r}?" if near else f" It holds {', '.join(genes[:_NAMED_GENES])} ..."
    lists = plan.gene_lists(entry.benchmark, folds[0][0], protocol)
    return f"figures.{key}: {entry.gene} on {entry.slide} ({protocol}) is not in the gene list {lists[0]}.{hint}"


def problems_of_efficiency(plan: Plan) -> list[str]:
    """Measured methods that are not known, or that have no such variant."""
    problems = []
    for text in plan.config.efficiency.methods:
        method, _, variant = text.partition("/")
        if method not in METHODS.names():
            near = difflib.get_close_matches(method, METHODS.names(), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            problems.append(f"efficiency.methods: no method {method!r}.{hint}")
        elif variant and variant not in METHODS.get(method).variants:
            known = ", ".join(METHODS.get(method).variants) or "none"
            problems.append(f"efficiency.methods: {text!r}: built-in variants of {method} are {known}")
        elif "train" in plan.config.efficiency.what and not issubclass(METHODS.get(method).Settings, RegionTraining):
            problems.append(f"efficiency.what: {method} is not trained on regions of a slide: leave out train")
    return problems
