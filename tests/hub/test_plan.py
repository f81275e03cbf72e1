"""What a configuration downloads, and what it takes from a mirror."""

import json
from pathlib import Path

import pytest

from stflow.config import Config, validate
from stflow.data.hub.request import read_request
from stflow.errors import ConfigError, DataError, WeightsError
from stflow.workflow import Plan

HUB = {"source": "hub", "repository": "MahmoodLab/hest-bench", "format": "hest_bench", "datasets": ["IDC"]}


def test_the_paper_s_configuration_downloads_every_slide_of_both_benchmarks() -> None:
    plan = Plan(Config())
    wanted, stimage, *weights = plan.downloads()
    assert {(item.repository, item.root, item.files) for item in weights} == {
        (
            "ozanciga/self-supervised-histopathology",
            Path("results/weights/ciga"),
            ("tenpercent_resnet18.ckpt",),
        ),
        ("MahmoodLab/UNI", Path("results/weights/UNI"), ("pytorch_model.bin",)),
        (
            "prov-gigapath/prov-gigapath",
            Path("results/weights/prov-gigapath"),
            ("pytorch_model.bin", "slide_encoder.pth"),
        ),
        ("timm/densenet121.tv_in1k", Path("results/weights/densenet121.tv_in1k"), ("model.safetensors",)),
    }
    assert (stimage.repository, stimage.root) == ("jiawennnn/STimage-1K4M", Path("results/data/stimage"))
    assert len(stimage.files) == 3 * 146
    assert {Path(file).parts[:2] for file in stimage.files} == {
        ("Visium", folder) for folder in ("image", "gene_exp", "coord")
    }
    assert (wanted.repository, wanted.root) == ("MahmoodLab/hest-bench", Path("results/data/hest"))
    assert len(wanted.files) == 2 * 72 + 10
    assert {file for file in wanted.files if file.startswith("IDC/")} == {
        "IDC/var_50genes.json",
        *(f"IDC/adata/{slide}.h5ad" for slide in plan.slides("hest", "IDC")),
        *(f"IDC/patches/{slide}.h5" for slide in plan.slides("hest", "IDC")),
    }


def test_hest_1k_s_metadata_are_downloaded_and_waited_for(tmp_path: Path) -> None:
    entry = {**HUB, "repository": "MahmoodLab/hest", "format": "hest"}
    plan = Plan(validate({"results": str(tmp_path), "benchmarks": {"hest": entry}}))
    metadata = tmp_path / "data" / "hest" / "metadata" / "TENX95.json"
    assert metadata in plan.counts_files("hest", "TENX95")
    assert "metadata/TENX95.json" in plan.downloads()[0].files
    assert plan.gene_lists("hest", "IDC", "paper") == []


def test_the_gene_list_is_known_by_name_before_it_is_there(tmp_path: Path) -> None:
    plan = Plan(validate({"results": str(tmp_path), "benchmarks": {"hest": HUB}}))
    assert plan.gene_lists("hest", "IDC", "paper") == [tmp_path / "data" / "hest" / "IDC" / "var_50genes.json"]
    assert plan.gene_lists("hest", "IDC", "clean") == []


def test_the_request_holds_what_is_downloaded_and_keeps_its_time(tmp_path: Path) -> None:
    plan = Plan(validate({"results": str(tmp_path), "benchmarks": {"hest": HUB}}))
    plan.write_hub_request()
    before = plan.layout.hub_request.stat().st_mtime_ns
    assert read_request(plan.layout.hub_request) == plan.downloads()
    Plan(plan.config).write_hub_request()
    assert plan.layout.hub_request.stat().st_mtime_ns == before


def test_a_mirror_is_read_in_place_and_nothing_is_downloaded(tmp_path: Path) -> None:
    values = {"data_root": str(tmp_path), "encoders": ["classical"], "methods": ["ridge"], "benchmarks": {"hest": HUB}}
    with pytest.raises(DataError) as caught:
        Plan(validate(values))
    message = str(caught.value)
    assert "lacks 9 files that benchmark hest needs, or has them empty" in message
    assert str(tmp_path / "hest-bench" / "IDC" / "adata" / "TENX95.h5ad") in message
    assert "data_root" in message

    for file in Plan(validate({**values, "data_root": None})).downloads()[0].files:
        path = tmp_path / "hest-bench" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    plan = Plan(validate(values))
    assert plan.downloads() == []
    assert plan.root("hest") == str(tmp_path / "hest-bench")

    path.write_text("")
    with pytest.raises(DataError, match=f"lacks 1 files .*, or has them empty: {path}"):
        Plan(validate(values))


def test_a_root_of_its_own_is_downloaded_to_beside_a_mirror(tmp_path: Path) -> None:
    entry = {**HUB, "root": str(tmp_path / "mine")}
    (wanted,) = Plan(
        validate(
            {"data_root": "nowhere", "encoders": ["classical"], "methods": ["ridge"], "benchmarks": {"hest": entry}}
        )
    ).downloads()
    assert wanted.root == tmp_path / "mine"


def test_benchmarks_that_share_a_folder_are_one_download(tmp_path: Path) -> None:
    split = Path(__file__).parents[2] / "resources" / "splits" / "hest.csv"
    both = {
        "one": {**HUB, "root": str(tmp_path), "manifest": str(split)},
        "two": {**HUB, "root": str(tmp_path), "manifest": str(split), "datasets": ["IDC", "READ"]},
    }
    values = {"encoders": ["classical"], "methods": ["ridge"], "benchmarks": both}
    (wanted,) = Plan(validate(values)).downloads()
    assert {file.split("/")[0] for file in wanted.files} == {"IDC", "READ"}

    both["two"]["repository"] = "MahmoodLab/hest"
    with pytest.raises(ConfigError, match=r"benchmarks.two.root: \S+ is that of MahmoodLab/hest-bench already"):
        Plan(validate(values))


def test_a_repository_that_is_missing_misplaced_or_unknown_is_told() -> None:
    for entry, told in (
        ({"source": "hub"}, "source hub needs a repository: MahmoodLab/hest-bench"),
        ({"repository": "MahmoodLab/hest"}, "is for source hub, not for source folder"),
        ({**HUB, "repository": "MahmoodLab/hestbench"}, "Did you mean 'MahmoodLab/hest-bench'?"),
        ({**HUB, "repository": "MahmoodLab/UNI"}, "no repository 'MahmoodLab/UNI'"),
    ):
        with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
            validate({"benchmarks": {"hest": entry}})
    assert json.loads(Config().model_dump_json())["benchmarks"]["hest"]["repository"] == "MahmoodLab/hest-bench"


def test_weights_that_a_method_starts_from_are_downloaded_and_given_to_its_training(tmp_path: Path) -> None:
    values = {"results": str(tmp_path), "benchmarks": {"hest": HUB}, "encoders": ["classical"], "seeds": [0]}
    plan = Plan(validate({**values, "methods": ["mean", "stnet/finetuned"], "protocols": ["paper"]}))
    weights = plan.downloads()[1:]
    assert [(item.repository, item.root, item.files, item.encoders) for item in weights] == [
        (
            "timm/densenet121.tv_in1k",
            tmp_path / "weights" / "densenet121.tv_in1k",
            ("model.safetensors",),
            ("stnet/finetuned",),
        )
    ]
    path = tmp_path / "weights" / "densenet121.tv_in1k" / "model.safetensors"
    assert plan.encoders.method_weights("stnet", "finetuned") == [path]
    assert plan.encoders.method_weights("mean", "default") == []
    given = {
        run.group.method: f"--weights {path}" in plan.options.training(run)
        for group in plan.groups()
        for run in plan.runs(group)
    }
    assert given == {"mean": False, "stnet": True}
    random = {"stnet": {"initial": "random"}}
    assert len(Plan(validate({**values, "methods": ["stnet/finetuned"], "settings": random})).downloads()) == 1


def test_weights_that_an_encoder_and_a_method_share_are_one_download(tmp_path: Path) -> None:
    values = {"results": str(tmp_path), "benchmarks": {"hest": HUB}, "encoders": ["classical"]}
    plan = Plan(validate({**values, "methods": ["stnet", "stnet/finetuned"]}))
    (weights,) = plan.downloads()[1:]
    assert weights.files == ("model.safetensors",)
    assert weights.encoders == ("densenet121+views", "stnet/finetuned")


def test_weights_of_a_method_that_a_mirror_lacks_are_told(tmp_path: Path) -> None:
    values = {"weights_root": str(tmp_path), "benchmarks": {"hest": HUB}, "encoders": ["classical"]}
    values = {**values, "methods": ["stnet/finetuned"]}
    path = tmp_path / "densenet121.tv_in1k" / "model.safetensors"
    with pytest.raises(WeightsError, match=f"method stnet/finetuned: its weights are not at {path}"):
        Plan(validate(values))
    path.parent.mkdir()
    path.write_text("x")
    assert len(Plan(validate(values)).downloads()) == 1
