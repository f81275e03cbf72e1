"""What a configuration asks for of figures: maps and their panels, refinement, efficiency, histograms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow.config import validate
from stflow.errors import ConfigError
from stflow.layout import Run
from stflow.workflow import Plan

ROOT = Path(__file__).parents[2]


def test_maps_that_cannot_be_drawn_are_told_all_at_once(two_folds: Callable[..., Plan]) -> None:
    maps = [{"benchmark": "lab", "slide": "s9", "gene": "A"}, {"benchmark": "hest", "slide": "s1", "gene": "A"}]
    with pytest.raises(ConfigError) as caught:
        two_folds(figures={"biomarkers": maps})
    assert "2 problem(s)" in str(caught.value)
    assert "no fold of this configuration tests slide 's9' of 'lab'" in str(caught.value)
    assert "tests slide 's1' of 'hest'" in str(caught.value)


def test_maps_of_a_protocol_that_is_not_run_are_told(two_folds: Callable[..., Plan]) -> None:
    maps = [{"benchmark": "lab", "slide": "s3", "gene": "A"}]
    with pytest.raises(ConfigError, match="biomarker_protocol: 'clean' is not among protocols"):
        two_folds(protocols=["paper"], figures={"biomarkers": maps})


def test_a_map_s_own_protocol_goes_before_the_common_one(two_folds: Callable[..., Plan]) -> None:
    a, b = ({"benchmark": "lab", "slide": "s3", "gene": "A", **own} for own in ({}, {"protocol": "paper"}))
    lab = two_folds(figures={"figure4": [a, b]})
    assert [str(place) for place in lab.figures.maps("figure4")] == ["lab/s3/A/clean", "lab/s3/A/paper"]
    assert lab.figures.wanted("lab", "D", "paper") == ["0/s3/A"]
    with pytest.raises(ConfigError, match=r"figures\.figure4: 'clean' is not among protocols"):
        two_folds(protocols=["paper"], figures={"figure4": [{**a, "protocol": "clean"}]})
    with pytest.raises(ConfigError, match=r"figures\.biomarkers: lab/s3/A stands there more than once"):
        two_folds(figures={"biomarkers": [a, b]})


def test_the_paper_s_maps_are_drawn_where_their_slides_are_run() -> None:
    full = Plan(validate({})).figures
    assert [str(place) for place in full.maps("figure4")] == ["hest/TENX141/UBE2C/paper", "hest/TENX115/VWF/paper"]
    assert full.maps("figure6") == full.maps("figure4")
    assert [str(place) for place in full.maps("figure7")] == ["hest/TENX95/GATA3/paper", "hest/TENX95/ERBB2/paper"]
    runs = [path.relative_to("results/runs/hest").parts[:4] for path in full.map_predictions("figure7")]
    uni = [("random_forest", "default"), ("stflow", "default"), ("stflow", "wo_fm")]
    uni = [("bleep", "default"), ("triplex", "default"), *uni]
    assert runs == [("IDC", "densenet121+views", "stnet", "default"), *(("IDC", "uni", *row) for row in uni)]

    def maps(**values: object) -> list[int]:
        figures = Plan(validate(values)).figures
        return [len(figures.maps(name)) for name in ("figure4", "figure6", "figure7")]

    lung = {"hest": {"root": "data", "datasets": ["LUNG"]}}
    assert maps(benchmarks=lung) == [1, 1, 0]
    assert maps(benchmarks=lung, methods=["ridge"]) == [1, 0, 0]
    assert maps(benchmarks=lung, protocols=["clean"]) == [0, 0, 0]
    assert maps(benchmarks=lung, genes={"paper": "all"}) == [0, 0, 0], "chosen anew, they may not be among them"


def test_panels_are_those_named_and_need_no_row_of_the_tables_where_a_model_is_there(
    two_folds: Callable[..., Plan],
) -> None:
    maps = [{"benchmark": "lab", "slide": "s2", "gene": "A"}]
    values = {"methods": ["ridge", "stflow"], "encoders": ["classical", "efficientnet_lite0"], "seeds": [4]}

    def made(*methods: str) -> Plan:
        return two_folds(**values, figures={"figure4": maps, "methods": list(methods)})

    lab = made("stflow/wo_fm", "ridge@efficientnet_lite0")
    panels = [
        path.parent.relative_to("results/runs/lab/D").as_posix() for path in lab.figures.map_predictions("figure4")
    ]
    assert panels == [
        "classical/stflow/wo_fm/clean/fold1/seed4",
        "efficientnet_lite0/ridge/default/clean/fold1/seed4",
    ]
    assert "wo_fm" in lab.variants()
    assert len(lab.trainings()) == len(two_folds(**values).trainings()), "nothing is trained for a map"
    with pytest.raises(ConfigError) as caught:
        made("stflow/prior_zero", "rigde", "ridge@resnet50")
    told = str(caught.value)
    assert "3 problem(s)" in told
    assert "'stflow/prior_zero' is not among methods, nor predicted from the model of one" in told
    assert "Did you mean 'ridge'?" in told
    assert "'ridge@resnet50': the method runs on classical, efficientnet_lite0 here" in told


def test_a_gene_that_a_list_lacks_is_told_before_anything_runs(tmp_path: Path, two_folds: Callable[..., Plan]) -> None:
    (tmp_path / "list.json").write_text(json.dumps({"genes": ["GATA3", "ERBB2"]}))
    genes = {"paper": "all", "clean": str(tmp_path / "list.json")}

    def made(gene: str, **own: str) -> Plan:
        maps = [{"benchmark": "lab", "slide": "s3", "gene": gene, **own}]
        return two_folds(genes=genes, figures={"figure7": maps})

    assert made("GATA3").figures.gene_checks(made("GATA3").figures.all_maps()) == [
        Path("results/map_genes/lab/D/clean.json")
    ]
    with pytest.raises(
        ConfigError, match=r"figures\.figure7: GATA on s3 \(clean\) is not in the gene list .*'GATA3'\?"
    ):
        made("GATA")
    made("GATA", protocol="paper")  # chosen when it runs: the stage map_genes tells


def test_refinement_is_of_stflow_on_the_first_encoder_with_the_genes_of_its_slide(
    two_folds: Callable[..., Plan],
) -> None:
    maps = [
        {"benchmark": "lab", "slide": slide, "gene": gene} for slide, gene in (("s2", "A"), ("s2", "B"), ("s3", "A"))
    ]
    lab = two_folds(encoders=["classical"], seeds=[4], figures={"figure6": maps})
    first, second = lab.figures.refinements()
    run = "lab/D/classical/stflow/default/clean/fold1/seed4"
    assert first == Path("results/refinement") / run / "s2.h5"
    assert second.name == "s3.h5"
    assert lab.figures.refined_genes(Run.parse(run), "s2") == ["A", "B"]


def test_measured_methods_are_checked(two_folds: Callable[..., Plan]) -> None:
    default = {f"{name}/default": name for name in ("stflow", "triplex", "histogene")}
    assert two_folds(efficiency={"repeats": 1}).options.measured() == default
    assert two_folds().options.measured() == {}, "a lab's own configuration measures nothing unasked"
    with pytest.raises(ConfigError) as caught:
        two_folds(efficiency={"methods": ["stflw", "stflow/fast", "ridge"], "what": ["train"]})
    told = str(caught.value)
    assert "no method 'stflw'. Did you mean 'stflow'?" in told
    assert "'stflow/fast': built-in variants of stflow are wo_fm" in told
    assert "ridge is not trained on regions of a slide: leave out train" in told


def test_histograms_are_those_of_the_paper_that_are_run(two_folds: Callable[..., Plan]) -> None:
    assert Plan(validate({})).figures.histograms() == [("hest", name) for name in ("IDC", "COAD", "LUNG", "SKCM")]
    some = {"benchmarks": {"hest": {"root": "data", "datasets": ["PRAD", "LUNG"]}}}
    assert Plan(validate(some)).figures.histograms() == [("hest", "LUNG")]
    assert two_folds().figures.histograms() == []
    assert two_folds(figures={"histograms": ["lab/D"]}).figures.histograms() == [("lab", "D")]
    with pytest.raises(ConfigError, match=r"figures.histograms: no dataset 'lab/E' in this configuration"):
        two_folds(figures={"histograms": ["lab/E"]})


def test_a_map_shows_every_method_on_the_fold_that_tests_the_slide(two_folds: Callable[..., Plan]) -> None:
    maps = [{"benchmark": "lab", "slide": "s2", "gene": "A"}]
    lab = two_folds(
        methods=["ridge", "stflow", "mean"], seeds=[4], figures={"biomarkers": maps},
        encoders=["classical", "efficientnet_lite0"], method_encoders={"stflow": ["classical"]},
    )  # fmt: skip
    paths = lab.figures.biomarker_predictions("efficientnet_lite0", "lab", "s2", "A")
    assert [path.parent.as_posix() for path in paths] == [
        f"results/runs/lab/D/{encoder}/{method}/default/clean/fold1/seed4"
        for encoder, method in (("efficientnet_lite0", "ridge"), ("classical", "stflow"), ("tiles", "mean"))
    ]


def test_a_map_leaves_out_a_method_that_does_not_run_there(two_folds: Callable[..., Plan]) -> None:
    maps = [{"benchmark": "lab", "slide": "s2", "gene": "A"}]
    rows = {"methods": ["ridge", "stflow"], "encoders": ["classical"], "figures": {"figure4": maps}}
    assert len(two_folds(**rows).figures.map_predictions("figure4")) == 2
    only = two_folds(**rows, method_datasets={"stflow": ["lab@paper"]})
    assert [path.parts[-6] for path in only.figures.map_predictions("figure4")] == ["ridge"]


def test_a_table_of_the_paper_reads_what_it_shows(two_folds: Callable[..., Plan]) -> None:
    maps = [{"benchmark": "lab", "slide": "s2", "gene": "A"}]
    rows = ["ridge", "bleep", "stflow", "stflow/egnn", "stflow/steps_2"]
    lab = two_folds(methods=rows, encoders=["classical"], seeds=[0], figures={"biomarkers": maps})
    shown = {name: {f"{group.method}/{group.variant}" for group in lab.paper.groups(name)} for name in lab.paper.tables}
    assert shown["table3"] == {"bleep/default", "stflow/default", "stflow/egnn"}
    assert shown["table5"] == {"stflow/default", "stflow/steps_2"}
    assert shown["table13"] == {"stflow/default"}
    assert lab.paper.genes() == ["lab/D/A"]


def test_what_is_not_as_in_the_paper_is_told(two_folds: Callable[..., Plan]) -> None:
    assert Plan(validate({})).paper.not_same() == {}
    changed = Plan(validate({"genes": {"n": 20}, "settings": {"bleep": {"epochs": 3}}})).paper.not_same()
    assert list(changed) == ["hest", "bleep"]
    assert "settings" in changed["bleep"]
    assert two_folds(genes={"n": 20}).paper.not_same() == {}, "the paper has no such benchmark"
