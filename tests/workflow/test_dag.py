"""What the workflow would run, and what it says to bad input. Nothing is run."""

import subprocess
import sys
from pathlib import Path

import yaml

from stflow.config import load
from stflow.workflow import Plan

ROOT = Path(__file__).parents[2]
DEMO = ("--configfile", "config/demo.yaml")


def test_the_demo_plans_every_run_once(tree) -> None:
    planned = tree.planned(*DEMO)
    plan = Plan(load(ROOT / "config" / "demo.yaml"))
    runs = [run for group in plan.groups() for run in plan.runs(group)]
    slides = sum(len(plan.slides(benchmark)) for benchmark in plan.config.benchmarks)
    expected = {
        "counts": slides,
        "tile": slides,
        "embed": slides,
        "genes": 4,
        "audit_dataset": 4,
        "audit": 1,
        "dataset_table": 2,
        "histograms": 1,
        "train": len(plan.trainings()),
        "predict": len(runs),
        "evaluate": len(plan.groups()),
        "gene_group_table": 2,
        "table1": 1,
        "biomarker": len(plan.figures.biomarkers()),
        "report": 1,
        "all": 1,
    }
    assert {rule: planned.count[rule] for rule in expected} == expected
    assert planned.count["source_demo_hest_slide"] + planned.count["source_demo_stimage_slide"] == slides
    assert {f"Train {run}." for run in plan.trainings()} <= planned.messages


def test_a_variant_that_only_samples_otherwise_adds_no_training(tree) -> None:
    """The step counts, one step, and a variant of the file's own; `zinb_0.2_4` has a model of its own, and dots."""
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    del values["benchmarks"]["demo_stimage"], values["figures"], values["method_datasets"], values["report"]
    values |= {"protocols": ["paper"], "seeds": [0], "variants": {"stflow": {"mine": {"steps": 3}}}}

    def planned(*methods: str):
        (tree.root / "steps.yaml").write_text(yaml.safe_dump({**values, "methods": list(methods)}))
        return tree.planned("--configfile", "steps.yaml")

    alone = planned("stflow")
    names = ("steps_1", "steps_2", "steps_5", "steps_10", "steps_16", "wo_fm", "samples_20", "mine")
    several = planned("stflow", *(f"stflow/{name}" for name in names))
    assert several.count["train"] == alone.count["train"] == 2
    assert several.count["predict"] == alone.count["predict"] * (1 + len(names))

    assert (alone.count["calibration"], several.count["calibration"]) == (0, 1)

    other = planned("stflow/steps_2", "stflow/zinb_0.2_4")
    assert variants_in(other, "Train") == {"default", "zinb_0.2_4"}
    assert variants_in(other, "Score") == variants_in(other, "Predict with") == {"steps_2", "zinb_0.2_4"}


def variants_in(planned, verb: str) -> set[str]:
    """Variants of the runs or groups that messages beginning with ``verb`` speak of."""
    names = (text.removeprefix(f"{verb} ").split("/") for text in planned.messages if text.startswith(f"{verb} "))
    return {name[4] for name in names if len(name) > 4}


def test_the_default_configuration_gives_way_to_the_one_that_is_named(tree) -> None:
    """Merged with config.yaml, her2st would bring the hest benchmark with it."""
    planned = tree.planned("--configfile", "config/her2st.yaml")
    assert planned.count["source_her2st_section"] == 6
    assert not [message for message in planned.messages if " hest/" in message]


def test_a_nested_key_can_be_set_on_the_command_line(tree) -> None:
    tree.planned("--configfile", "config/her2st.yaml", "--config", 'benchmarks={"her2st": {"pack": "some where"}}')
    record = yaml.safe_load((tree.root / "results/her2st/config.yaml").read_text())
    assert record["benchmarks"]["her2st"]["pack"] == "some where"
    assert record["benchmarks"]["her2st"]["format"] == "hest"


def test_datasets_without_leak_free_folds_do_not_stop_the_others(tree) -> None:
    """STImage-1K4M's seven organs: three have no clean fold, and all have the paper's."""
    stimage = load(ROOT / "config" / "config.yaml").benchmarks["stimage"].model_dump(mode="json")
    values = {"results": "results/organs", "benchmarks": {"stimage": stimage}}
    values |= {"encoders": ["classical"], "methods": ["mean"], "seeds": [0]}
    (tree.root / "organs.yaml").write_text(yaml.safe_dump(values))
    planned = tree.planned("--configfile", "organs.yaml")
    expected = {"splits": 1, "counts": 146, "genes": 7 + 4, "train": 7 * 3 + 10, "evaluate": 7 + 4, "table1": 1}
    assert {rule: planned.count[rule] for rule in expected} == expected
    assert "Choose the genes of stimage/Prostate for the paper protocol." in planned.messages
    assert "Choose the genes of stimage/Prostate for the clean protocol." not in planned.messages


def test_the_whole_paper_is_planned_without_any_data(tree) -> None:
    """Seventeen datasets from the manifests alone; every slide's files are downloaded, and every fold trained."""
    planned = tree.planned("all")
    slides, encoders = 72 + 146, 5  # the paper's four, and ST-Net's
    expected = {
        "download_0": 154,
        "download_1": 438,
        **{f"download_{number}": 1 for number in (2, 3, 5)},
        "download_4": 2,
    }
    expected |= {f"hub_lock_{number}": 1 for number in range(6)}
    expected |= {"counts": slides, "tile": slides, "place_features": encoders * slides, "embed": 0}
    columns, with_seeds = 26, 17
    folds, datasets = 2 * 29 + 31, 2 * 17 - 3  # of both protocols; three organs have no clean folds
    # STFlow's ablations, on HEST under the paper's protocol: six on three encoders, eleven on one; of these, one on
    # three encoders and three on one are predicted from STFlow's own model.
    ablations, of_its_model, hest_folds = 6 * 3 + 11, 3 + 3, 29
    expected |= {"embed_part": encoders * 35, "evaluate": columns * datasets + 10 * ablations}
    own = folds * (3 * with_seeds + columns - with_seeds)
    expected["predict"] = own + 3 * hest_folds * ablations
    # ridge/smoothed is predicted from ridge's model.
    expected["train"] = own - folds + 3 * hest_folds * (ablations - of_its_model)
    assert {rule: planned.count[rule] for rule in expected} == expected
    assert not (tree.root / "results" / "data").exists()


def test_named_targets(tree) -> None:
    planned = tree.planned("DEMO_IDC", "mean", *DEMO)
    scored = {tuple(text.split("/")[1:4:2]) for text in planned.messages if text.startswith("Score ")}
    methods = {row.partition("/")[0] for row in load(ROOT / "config" / "demo.yaml").methods}
    assert scored == {("DEMO_IDC", method) for method in methods} | {("DEMO_Breast", "mean")}
    assert not planned.count.keys() & {"table1", "report", "all"}

    tiles = tree.planned("tiles", *DEMO)
    assert tiles.count["tile"] == 14
    assert not tiles.count.keys() & {"embed", "genes", "train"}


def test_all_problems_of_a_configuration_come_in_one_message(tree) -> None:
    (tree.root / "bad.yaml").write_text(
        "results: results/bad\nresutls: x\nseeds: [a]\n"
        "benchmarks:\n  demo_hest: {source: demo, format: hest, datasets: [NOPE]}\n"
    )
    done = tree.snakemake("--dry-run", "--configfile", "bad.yaml")
    assert done.returncode == 1
    assert "3 problem(s)" in done.stdout
    assert "resutls: unknown key. Did you mean 'results'?" in done.stdout
    assert "seeds.0: Input should be a valid integer" in done.stdout
    assert "no dataset of benchmark demo_hest 'NOPE'; known are DEMO_IDC" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tree.root / "results" / "bad").exists()


def test_a_fold_with_a_patient_on_both_sides_stops_the_workflow(tree) -> None:
    (tree.root / "leak.csv").write_text(
        "dataset,slide,patient,protocol,fold,role\nD,s1,p1,*,0,train\nD,s2,p1,*,0,test\n"
    )
    (tree.root / "leak.yaml").write_text("benchmarks:\n  lab: {root: ., manifest: leak.csv}\n")
    done = tree.snakemake("--dry-run", "--configfile", "leak.yaml")
    assert done.returncode == 1
    assert "patient p1 is in both train and test, so scores would leak" in done.stdout


def test_a_clean_training_waits_for_its_audit(tree) -> None:
    """The paper protocol's leaks are reported, and stop nothing."""
    clean, paper = (
        tree.planned(f"results/demo/runs/demo_hest/DEMO_IDC/tiles/mean/default/{protocol}/fold0/seed0/run.json", *DEMO)
        for protocol in ("clean", "paper")
    )
    assert (clean.count["audit_dataset"], clean.count["train"]) == (1, 1)
    assert (paper.count["audit_dataset"], paper.count["train"]) == (0, 1)


def test_lint_finds_nothing(tree) -> None:
    done = tree.snakemake("--lint", *DEMO)
    assert done.returncode == 0, done.stdout


def test_the_snakefile_asks_for_no_heavy_library() -> None:
    """Every cluster job reads it again."""
    code = (
        "import sys, yaml\n"
        "from stflow.config import validate\n"
        "from stflow.stamps import stages\n"
        "from stflow.provenance import code_hash\n"
        "from stflow.workflow import Plan\n"
        "config = validate(yaml.safe_load(open('config/demo.yaml')))\n"
        "Plan(config)\n"
        "[code_hash(*modules) for modules in stages(config).values()]\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'anndata', 'scanpy', 'timm', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
