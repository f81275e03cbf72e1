"""The planted truth of a demo benchmark, as its truth.json holds it: named gene lists, then the recipe's numbers."""

from __future__ import annotations

from typing import Any

from stflow.data.demo import recipe
from stflow.data.demo.expression import GENES, gene_table
from stflow.io import SCHEMA_VERSION


def planted_truth() -> dict[str, Any]:
    """Gene groups (lists of symbols at the top level) and, under ``recipe``, what was planted in them."""
    table = gene_table()
    kinds = [sender.name for sender in recipe.SENDERS]
    answers = {
        gene: {kind: round(float(effect), 4) for kind, effect in zip(kinds, row, strict=True) if effect}
        for gene, row in zip(GENES, table.answer, strict=True)
        if row.any()
    }
    return {
        "interaction": list(recipe.INTERACTION),
        "morphology": list(recipe.MORPHOLOGY),
        "background": sorted((*recipe.HOUSEKEEPING, *recipe.BATCH)),
        "biomarkers": list(recipe.BIOMARKERS),
        "recipe": {
            "schema": SCHEMA_VERSION,
            "seed": recipe.SEED,
            "senders": {
                sender.name: {
                    "looks": sender.looks,
                    "ligands": list(sender.ligands),
                    "receivers": list(sender.receivers),
                }
                for sender in recipe.SENDERS
            },
            "sender_rate": recipe.SENDER_RATE,
            "sender_strength": list(recipe.SENDER_STRENGTH),
            "sender_radius_um": recipe.SENDER_RADIUS_UM,
            "ligand_effect": recipe.LIGAND_EFFECT,
            "receiver_effects": answers,
        },
    }
