"""The paper's score from the long metrics, and what it leaves out.

One run's score is the mean over its genes of the metric on all test spots of the fold pooled. A seed's score is the
mean over folds of its runs' scores. A group's score is the mean over seeds, and its spread the *population* standard
deviation over seeds (ddof = 0, NumPy's default and so, most likely, the printed +-); with one seed there is no spread.

Left out, and counted: genes measured constant in a fold (`n_undefined`, gene x fold pairs), and runs that failed
(`n_failed`). A seed counts only with all its folds: the mean of the folds that happened to survive is another score.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.errors import IntegrityError
from stflow.evaluation.evaluate import COLUMNS, METRICS_VERSION, POOLED
from stflow.layout import Group
from stflow.names import name_problem

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What names a group, in the order of the tables: blocks, rows, columns.
GROUP = ["benchmark", "dataset", "encoder", "protocol", "method", "variant"]
#: The same in the order of a run's name.
RUN_NAME = ["benchmark", "dataset", "encoder", "method", "variant", "protocol"]
#: The name that stands for the mean over a benchmark's datasets.
AVERAGE = "average"


def read_metrics(
    paths: Sequence[Path], pooled: Collection[str] | None = None, by_slide: Collection[str] | None = None
) -> pd.DataFrame:
    """All metrics files in one frame, columns as `stflow.evaluation.evaluate.COLUMNS`.

    Parameters
    ----------
    paths
        Metrics files.
    pooled, by_slide
        Metrics whose rows of pooled spots, and of single slides, are wanted; default: all. A table needs few of them,
        and all of a large benchmark's are gigabytes.

    Raises
    ------
    IntegrityError
        A file is missing, cut short, of other columns, or was written by a program with other metrics.
    """
    import pandas as pd

    frames = [_wanted(read_table(path), pooled, by_slide).to_pandas() for path in paths]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
    return pd.concat(frames, ignore_index=True)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A metrics file as it is, or some of its columns, with the types of `COLUMNS`.

    Raises
    ------
    IntegrityError
        See `read_metrics`; also a name that leads out of the results folder.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = "Delete it and run `evaluate`."
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        names = table.column_names
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} is not a whole metrics file ({error}). {again}") from error
    kinds = {name: COLUMNS[name] for name in columns or COLUMNS}
    if names != list(kinds):
        raise IntegrityError(f"{path} has the columns {', '.join(names)}, not {', '.join(kinds)}. {again}")
    told = table.schema.metadata or {}
    if b"stflow_schema" in told and told.get(b"stflow_metrics", b"1") != METRICS_VERSION.encode():
        raise IntegrityError(f"{path} holds other metrics than this program writes. {again}")
    try:
        table = table.cast(pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()]))
    except pa.ArrowException as error:
        raise IntegrityError(f"{path} holds a column of another type ({error}). {again}") from error
    empty = [name for name in kinds if name not in ("value", "reason") and table[name].null_count]
    if empty:
        raise IntegrityError(f"{path} has rows without {', '.join(empty)}. {again}")
    for column in (name for name in Group.__slots__ if name in kinds):
        problems = [problem for name in table[column].unique().to_pylist() if (problem := name_problem(name))]
        if problems:
            raise IntegrityError(f"{path}: column {column}: {problems[0]}. {again}")
    return table


def _wanted(table: pa.Table, pooled: Collection[str] | None, by_slide: Collection[str] | None) -> pa.Table:
    """Its rows of these metrics of pooled spots, and of those metrics of single slides; None: of all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_pooled = pc.equal(table["slide"], POOLED)
    kept = [
        rows if names is None else pc.and_(rows, pc.is_in(table["metric"], pa.array(list(names), pa.string())))
        for names, rows in ((pooled, is_pooled), (by_slide, pc.invert(is_pooled)))
    ]
    return table.filter(pc.or_(*kept))


def run_scores(
    metrics: pd.DataFrame, metric: str = "pearson", genes: Collection[str] | None = None, by_slide: bool = False
) -> pd.DataFrame:
    """One row a run: `GROUP`, fold, seed, ``score``, n_genes, n_undefined, n_spots, status, reason.

    Parameters
    ----------
    metrics
        Long metrics.
    metric
        Which metric.
    genes
        Only these genes; a run whose list holds none of them has no row.
    by_slide
        Of each slide alone, then the mean over the slides on which a gene has a score, in place of all spots pooled.
    """
    rows = metrics[(metrics["metric"] == metric) & ((metrics["slide"] == POOLED) != by_slide)]
    if genes is not None:
        rows = rows[rows["gene"].isin(list(genes))]
    if by_slide:
        slides = rows.groupby([*GROUP, "fold", "seed", "gene", "status", "reason"], sort=False, observed=True)
        rows = slides.agg(value=("value", "mean"), n_spots=("n_spots", "sum")).reset_index()
    runs = rows.groupby([*GROUP, "fold", "seed"], sort=False, observed=True)
    scores = runs.agg(
        score=("value", "mean"),  # leaves NaN out
        n_genes=("gene", "size"),
        n_defined=("value", "count"),
        n_spots=("n_spots", "first"),
        status=("status", "first"),
        reason=("reason", "first"),
    ).reset_index()
    failed = scores["status"] != "ok"
    scores["n_undefined"] = np.where(failed, 0, scores["n_genes"] - scores["n_defined"])
    return scores.drop(columns="n_defined")


def seed_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a group and seed, `GROUP`, seed, ``score``: the mean over folds; NaN where a fold failed."""
    by_seed = runs.groupby([*GROUP, "seed"], sort=False, observed=True)["score"]
    return by_seed.agg(lambda values: values.mean(skipna=False)).reset_index()


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a group: `GROUP`, mean, std, n_folds, n_seeds, n_genes, n_undefined, n_failed, n_spots.

    ``n_seeds`` counts the seeds in the mean, ``n_genes`` is the mean length of the folds' gene lists, ``n_spots`` the
    test spots of all folds together.
    """
    scores = over_seeds(seed_scores(runs))
    first_seed = runs.drop_duplicates([*GROUP, "fold"])
    undefined = runs.groupby([*GROUP, "fold"], sort=False, observed=True)["n_undefined"].max()
    facts = first_seed.groupby(GROUP, sort=False, observed=True).agg(
        n_folds=("fold", "size"), n_genes=("n_genes", "mean"), n_spots=("n_spots", "sum")
    )
    facts["n_undefined"] = undefined.groupby(GROUP, sort=False, observed=True).sum()
    facts["n_failed"] = (
        runs.assign(failed=runs["status"] != "ok").groupby(GROUP, sort=False, observed=True)["failed"].sum()
    )
    return scores.merge(facts.reset_index(), on=GROUP)


def average_datasets(runs: pd.DataFrame) -> pd.DataFrame:
    """As `summarise`, the mean over a benchmark's datasets in place of each, for benchmarks with more than one."""
    key = [name for name in GROUP if name != "dataset"]
    scores = over_seeds(average_seeds(runs))
    facts = summarise(runs).groupby(key, sort=False, observed=True)
    totals = facts[["n_folds", "n_spots", "n_undefined", "n_failed"]].sum()
    totals["n_genes"] = facts["n_genes"].mean()
    return scores.merge(totals.reset_index(), on=key)


def average_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """As `seed_scores`, the mean over a benchmark's datasets in place of each, for benchmarks with more than one.

    Averaged seed by seed, so that the spread is that of the average. Where one dataset has a seed less than another
    (a method that draws nothing has but one), only the seeds that all have count; NaN if none.
    """
    key = [name for name in GROUP if name != "dataset"]
    n_datasets = runs.groupby(["benchmark", "protocol"], observed=True)["dataset"].nunique().rename("n_datasets")
    seeds = seed_scores(runs).merge(n_datasets[n_datasets > 1].reset_index(), on=["benchmark", "protocol"])
    by_seed = seeds.groupby([*key, "seed"], sort=False, observed=True)
    averaged = by_seed.agg(
        score=("score", lambda values: values.mean(skipna=False)), n=("score", "size"), n_datasets=("n_datasets", "max")
    ).reset_index()
    averaged.loc[averaged["n"] < averaged["n_datasets"], "score"] = np.nan
    return averaged.assign(dataset=AVERAGE)[[*GROUP, "seed", "score"]]


def over_seeds(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row a group, `GROUP`, mean, std, n_seeds, of `seed_scores`: population standard deviation over seeds.

    A seed without a score does not count.
    """
    scores = seeds.groupby(GROUP, sort=False, observed=True)["score"]
    table = scores.agg(mean="mean", std=lambda v: v.std(ddof=0) if v.count() > 1 else np.nan, n_seeds="count")
    return table.reset_index()


def failures(runs: pd.DataFrame) -> list[str]:
    """One line a failed run: its name and the reason."""
    failed = runs[runs["status"] != "ok"].astype(str)
    return [
        f"{'/'.join(row[name] for name in RUN_NAME)}/fold{row['fold']}/seed{row['seed']}: "
        f"{row['reason'] or 'no reason recorded'}"
        for row in failed.to_dict("records")
    ]
