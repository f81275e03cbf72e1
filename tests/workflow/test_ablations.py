"""config/ablations.yaml asks for every variant of STFlow, and trains only what has a model of its own."""

from collections import Counter
from pathlib import Path

from stflow.config import load
from stflow.models import METHODS
from stflow.workflow import Plan

CONFIG = Path(__file__).parents[2] / "config" / "ablations.yaml"
#: Predicted from the models of `default`.
SAMPLED = {"wo_fm", "steps_1", "steps_2", "steps_5", "steps_10", "steps_16", "samples_20"}


def test_every_variant_is_a_row_and_every_model_is_trained_once() -> None:
    plan = Plan(load(CONFIG))
    variants = ["default", *METHODS.get("stflow").variants]
    assert sorted(plan.methods) == sorted(("stflow", variant) for variant in variants)

    trainings = plan.trainings()
    folds = sum(map(len, plan.folds.values()))  # of both protocols
    seeds = len(plan.config.seeds)
    assert (folds, seeds) == (2 * 29, 3)
    assert Counter(run.group.variant for run in trainings) == dict.fromkeys(set(variants) - SAMPLED, folds * seeds)
    assert len(trainings) == 17 * 58 * 3
    assert sum(len(plan.runs(group)) for group in plan.groups()) == 24 * 58 * 3
    assert {group.variant for group in plan.sampled_groups()} == {"samples_20"}
