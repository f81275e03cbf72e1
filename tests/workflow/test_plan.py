"""What a configuration asks for: the runs, the files that each reads, the targets by name."""

import json
import shlex
from pathlib import Path

import pytest

from stflow.config import load, validate
from stflow.errors import ConfigError, LeakageError, WeightsError
from stflow.layout import Group
from stflow.shell import comma, free_name, option, relative
from stflow.workflow import Plan

ROOT = Path(__file__).parents[2]
HEADER = "dataset,slide,patient,protocol,fold,role\n"


@pytest.fixture(scope="module")
def demo() -> Plan:
    return Plan(load(ROOT / "config" / "demo.yaml"))


def plan(tmp_path: Path, rows: str, **values: object) -> Plan:
    manifest = tmp_path / "lab.csv"
    manifest.write_text(HEADER + rows)
    benchmark = {"root": str(tmp_path), "manifest": str(manifest)}
    return Plan(validate({"benchmarks": {"lab": benchmark}, **values}))


TWO_FOLDS = (
    "D,s1,p1,*,0,train\nD,s2,p2,*,0,train\nD,s3,p3,*,0,test\nD,s3,p3,*,1,train\nD,s1,p1,*,1,train\nD,s2,p2,*,1,test\n"
)


def test_every_dataset_encoder_method_and_protocol_is_a_group(demo: Plan) -> None:
    groups = demo.groups()
    some = demo.config.method_datasets  # run on one dataset under one protocol
    assert len(groups) == len(set(groups)) == 2 * 2 * (len(demo.methods) - len(some)) + len(some)
    assert {group.method for group in demo.groups(method="ridge")} == {"ridge"}
    assert {group.benchmark for group in demo.groups(dataset="DEMO_IDC")} == {"demo_hest"}


def test_a_method_that_draws_nothing_runs_with_one_seed(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS, encoders=["classical"], seeds=[3, 5])
    assert lab.seeds("ridge") == lab.seeds("mean") == [3]
    assert lab.seeds("stflow") == lab.seeds("random_forest") == [3, 5]


def test_runs_are_all_folds_and_seeds(tmp_path: Path) -> None:
    group = Group("lab", "D", "classical", "stflow", "default", "clean")
    runs = plan(tmp_path, TWO_FOLDS, encoders=["classical"], seeds=[3, 5]).runs(group)
    assert [(run.fold, run.seed) for run in runs] == [(0, 3), (0, 5), (1, 3), (1, 5)]


def test_the_clean_protocol_never_reads_a_test_slide_to_learn(demo: Plan) -> None:
    for group in demo.groups():
        for run in demo.runs(group):
            if group.protocol == "clean":
                assert not set(demo.learning_slides(run)) & set(demo.fold(run).test)


def test_a_changed_role_changes_what_a_training_is_told(tmp_path: Path) -> None:
    run = Group("lab", "D", "efficientnet_lite0", "stflow", "default", "clean").run(0, 0)
    before = plan(tmp_path, TWO_FOLDS.replace("D,s1,p1,*,0,train", "D,s1,p1,*,0,val"))
    after = plan(tmp_path, TWO_FOLDS.replace("D,s2,p2,*,0,train", "D,s2,p2,*,0,val"))
    assert set(before.learning_slides(run)) == set(after.learning_slides(run))
    assert before.describe(run) != after.describe(run)


def test_a_changed_setting_of_one_method_is_seen_by_that_method_only(tmp_path: Path) -> None:
    before = plan(tmp_path, TWO_FOLDS)
    after = plan(tmp_path, TWO_FOLDS, settings={"random_forest": {"trees": 7}})
    assert before.options.settings_json("stflow", "default") == after.options.settings_json("stflow", "default")
    assert before.options.settings_json("random_forest", "default") != after.options.settings_json(
        "random_forest", "default"
    )


def test_a_variant_of_sampling_is_predicted_from_the_model_of_another(tmp_path: Path) -> None:
    methods = ["stflow/steps_2", "stflow/wo_fm", "stflow/prior_zero", "ridge"]
    lab = plan(tmp_path, TWO_FOLDS, encoders=["classical"], methods=methods, seeds=[3], protocols=["clean"])
    run = Group("lab", "D", "classical", "stflow", "steps_2", "clean").run(1, 3)
    assert str(lab.trained_as(run)) == "lab/D/classical/stflow/default/clean/fold1/seed3"
    assert lab.variants() == ["steps_2", "wo_fm", "prior_zero", "default"]
    trained = [(run.group.method, run.group.variant, run.fold) for run in lab.trainings()]
    assert trained == [
        (method, variant, fold)
        for method, variant in (("stflow", "default"), ("stflow", "prior_zero"), ("ridge", "default"))
        for fold in (0, 1)
    ]


def test_a_prediction_is_told_how_to_sample_and_no_more(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS, methods=["stflow/steps_2", "ridge"])
    assert json.loads(lab.options.sampling_json("stflow", "steps_2")) == {
        "steps": 2,
        "times": "paper",
        "samples": 1,
        "interval": 0.9,
    }
    assert json.loads(lab.options.sampling_json("ridge", "default")) == {"own_weight": 1.0, "smoothed_over": 8}
    assert lab.options.sampling_json("mean", "default") == "{}"
    assert json.loads(lab.options.settings_json("stflow", "default"))["steps"] == 5, (
        "choosing the epoch takes five steps"
    )
    assert not {"samples", "interval"} & json.loads(lab.options.settings_json("stflow", "default")).keys()


def test_what_a_run_is_told_is_one_line_for_the_shell(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS, methods=["stflow/steps_2", "ridge"], training={"device": "cpu"})
    group = Group("lab", "D", "efficientnet_lite0", "stflow", "steps_2", "clean")
    told = shlex.split(lab.options.prediction(group.run(0, 0)))
    assert dict(zip(told[::2], told[1::2], strict=True)) == {
        "--manifest": lab.manifest("lab"),
        "--settings": lab.options.sampling_json("stflow", "steps_2"),
        "--trained-as": "default",
        "--device": "cpu",
    }
    trained = shlex.split(lab.options.training(group.run(0, 0)))
    assert trained[trained.index("--settings") + 1] == lab.options.settings_json("stflow", "steps_2")
    assert "--trained-as" not in trained


def test_folds_that_share_patients_are_told(demo: Plan) -> None:
    group = demo.groups(benchmark="demo_stimage")[0]
    assert shlex.split(demo.options.training(group.run(0, 0)))[-1] == "--by-slide"


def test_a_clean_training_waits_for_the_audit(demo: Plan) -> None:
    for group in demo.groups():
        audits = [demo.layout.audit(group.benchmark, group.dataset, group.protocol)]
        assert demo.audits(group) == (audits if group.protocol == "clean" else [])


def test_leakage_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="patient p1 is in both train and test"):
        plan(tmp_path, "D,s1,p1,*,0,train\nD,s2,p1,*,0,test\n")


def stimage(**values: object) -> Plan:
    benchmark = {"format": "stimage", "split_by_slide": True}
    return Plan(validate({"benchmarks": {"stimage": benchmark}, **values}))


def test_a_dataset_that_cannot_have_folds_is_left_out_and_the_others_run() -> None:
    lab = stimage(methods=["mean"], encoders=["classical"])
    ran = {(group.dataset, group.protocol) for group in lab.groups()}
    organs = {"Breast", "Brain", "Skin", "Mouth", "Prostate", "Stomach", "Colon"}
    assert {dataset for dataset, protocol in ran if protocol == "paper"} == organs
    assert organs - {dataset for dataset, protocol in ran if protocol == "clean"} == {"Skin", "Prostate", "Colon"}
    assert {key[1:] for key in lab.without_folds} == {(name, "clean") for name in ("Skin", "Prostate", "Colon")}
    assert "Prostate clean: all 7 slides are of one patient (study Erickson)" in lab.describe_splits("stimage")
    assert len(lab.describe_splits("stimage")) == 7 * 3 + 5 + 2 + 2 + 1 + 3


def test_a_configuration_without_any_folds_is_refused_with_the_reasons() -> None:
    entry = {"format": "stimage", "split_by_slide": True, "datasets": ["Skin", "Colon"]}
    with pytest.raises(ConfigError, match=r"nothing to run.*stimage/Skin/clean: all 4 slides.*add a dataset or a prot"):
        Plan(validate({"benchmarks": {"stimage": entry}, "protocols": ["clean"]}))


def test_a_dataset_without_folds_and_without_a_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lab/D has no fold for the clean protocol: add rows to .*the reason"):
        plan(tmp_path, TWO_FOLDS.replace("*", "paper"))


def test_the_crop_concerns_formats_whose_tile_is_the_spot(tmp_path: Path) -> None:
    pixels = {"tiling": {"crop": "pixels"}}
    assert (stimage().crop("stimage"), stimage(**pixels).crop("stimage")) == ("", "--crop pixels")
    assert plan(tmp_path, TWO_FOLDS, **pixels).crop("lab") == ""


def test_a_method_runs_on_its_own_encoders_on_those_given_it_or_on_all(tmp_path: Path) -> None:
    lab = plan(
        tmp_path, TWO_FOLDS, methods=["mean", "ridge", "stflow", "stflow/wo_fm"], protocols=["clean"],
        encoders=["classical", "efficientnet_lite0"],
        method_encoders={"stflow": ["resnet50"], "stflow/wo_fm": ["classical"]},
    )  # fmt: skip
    assert [(group.encoder, group.method, group.variant) for group in lab.groups()] == [
        ("classical", "ridge", "default"),
        ("classical", "stflow", "wo_fm"),
        ("efficientnet_lite0", "ridge", "default"),
        ("resnet50", "stflow", "default"),
        ("tiles", "mean", "default"),
    ]
    assert lab.encoders.run == ["classical", "efficientnet_lite0", "resnet50"]
    assert lab.options.columns() == (
        "mean@tiles,ridge@classical,ridge@efficientnet_lite0,stflow@resnet50,stflow/wo_fm@classical"
    )


def test_a_method_without_features_waits_for_the_tiles_that_say_which_spots_there_are(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS, methods=["mean", "ridge"], protocols=["clean"], encoders=["classical"])
    ridge, mean = lab.groups()
    assert [path.as_posix() for path in lab.method_tile_paths(mean, ["s1"])] == ["results/tiles/lab/s1.h5"]
    assert lab.feature_paths(mean.encoder, "lab", ["s1"]) == []
    assert lab.method_tile_paths(ridge, ["s1"]) == []
    assert [path.as_posix() for path in lab.feature_paths(ridge.encoder, "lab", ["s1"])] == [
        "results/features/classical/lab/s1.h5"
    ]


def test_the_demo_is_planned_alike_before_and_after_it_is_made(
    demo: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = demo.gene_lists("demo_hest", "DEMO_IDC", "paper")
    monkeypatch.chdir(tmp_path)
    for path in before:
        path.parent.mkdir(parents=True)
        path.touch()
    after = Plan(load(ROOT / "config" / "demo.yaml")).gene_lists("demo_hest", "DEMO_IDC", "paper")
    assert before == after
    assert len(before) == 1
    assert demo.gene_lists("demo_hest", "DEMO_IDC", "clean") == []
    assert demo.gene_lists("demo_stimage", "DEMO_Breast", "paper") == []


def test_a_list_on_disk_is_official_for_a_folder(tmp_path: Path) -> None:
    assert plan(tmp_path, TWO_FOLDS).gene_lists("lab", "D", "paper") == []
    (tmp_path / "D").mkdir()
    (tmp_path / "D" / "var_50genes.json").write_text("{}")
    lab = plan(tmp_path, TWO_FOLDS)
    assert lab.gene_choice("lab", "paper") == "official"
    assert lab.gene_lists("lab", "D", "paper") == [tmp_path / "D" / "var_50genes.json"]
    for choice in ("all", "train"):
        assert plan(tmp_path, TWO_FOLDS, genes={"paper": choice}).gene_lists("lab", "D", "paper") == []


def test_a_source_that_brings_lists_is_asked_by_name(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS)
    entry = lab.config.benchmarks["lab"].model_copy(update={"source": "hub"})
    lab.config.benchmarks["lab"] = entry
    assert lab.gene_lists("lab", "D", "paper") == [tmp_path / "D" / "var_50genes.json"]


def test_a_list_of_the_user_s_is_an_input_of_both_protocols(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("A\nB\n")
    lab = plan(tmp_path, TWO_FOLDS, genes={"paper": str(mine), "clean": str(mine)})
    for protocol in ("paper", "clean"):
        assert (lab.gene_choice("lab", protocol), lab.gene_lists("lab", "D", protocol)) == ("list", [mine])
    with pytest.raises(ConfigError, match=r"genes\.clean of benchmark lab: no gene list at .*none\.txt"):
        plan(tmp_path, TWO_FOLDS, genes={"clean": str(tmp_path / "none.txt")})


def test_the_recipe_is_the_format_s() -> None:
    assert stimage().gene_recipe("stimage") == "stimage"
    assert Plan(validate({})).gene_recipe("hest") == "hest"


def test_the_gpu_is_asked_for_where_it_is_used(tmp_path: Path) -> None:
    from stflow.models import METHODS

    auto, cpu = (plan(tmp_path, TWO_FOLDS, training={"device": device}) for device in ("auto", "cpu"))
    assert (auto.options.gpus(METHODS.get("stflow")), auto.options.device(METHODS.get("stflow"))) == (1, "auto")
    assert (auto.options.gpus(METHODS.get("ridge")), auto.options.device(METHODS.get("ridge"))) == (0, "cpu")
    assert (cpu.options.gpus(METHODS.get("stflow")), cpu.options.device(METHODS.get("stflow"))) == (0, "cpu")


def test_a_target_whose_name_is_taken_bears_its_kind() -> None:
    assert free_name("dataset", "IDC", {"tiles"}) == "IDC"
    assert free_name("dataset", "tiles", {"tiles"}) == "dataset_tiles"


def test_words_for_the_command_line() -> None:
    assert comma([0, 1]) == "0,1"
    assert option("--pack", None) == option("--pack") == ""
    assert option("--pack", Path("a b")) == "--pack 'a b'"


def test_paths_below_the_working_folder_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(tmp_path / "a" / "b.csv") == "a/b.csv"
    assert relative("/elsewhere/b.csv") == "/elsewhere/b.csv"


def test_slides_share_a_job_where_the_encoder_is_for_a_gpu(tmp_path: Path) -> None:
    names = ["classical", "efficientnet_lite0", "ciga", "gigapath_slide"]
    lab = plan(tmp_path, TWO_FOLDS, encoders=names, methods=["mean"])
    assert lab.encoders.sharing(False) == ["classical", "efficientnet_lite0"]
    assert lab.encoders.sharing(True) == ["ciga", "gigapath_slide", "gigapath"]
    assert lab.encoders.workers("ciga") > 0 == lab.encoders.workers("classical")
    assert lab.encoders.cores("ciga") == 1 + lab.encoders.workers("ciga")
    on_cpu = plan(tmp_path, TWO_FOLDS, encoders=names, methods=["mean"], training={"device": "cpu"})
    assert on_cpu.encoders.sharing(True) == []
    assert not on_cpu.encoders.uses_gpu("gigapath")


def test_a_slide_encoder_waits_for_the_features_of_its_tiles(tmp_path: Path) -> None:
    lab = plan(tmp_path, TWO_FOLDS, encoders=["gigapath_slide+macenko"], methods=["ridge"])
    (source,) = lab.encoded_from("gigapath_slide+macenko", "lab", ["s1"])
    assert source == lab.layout.features("gigapath+macenko", "lab", "s1")
    assert lab.encoded_from("gigapath+macenko", "lab", ["s1"]) == [lab.layout.tiles("lab", "s1")]
    assert {group.encoder for group in lab.groups()} == {"gigapath_slide+macenko"}
    (wanted,) = lab.downloads()
    assert wanted.files == ("pytorch_model.bin", "slide_encoder.pth")
    assert wanted.encoders == ("gigapath_slide+macenko", "gigapath+macenko")


def test_weights_come_from_a_mirror_where_one_is_given(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "UNI" / "pytorch_model.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    lab = plan(tmp_path, TWO_FOLDS, encoders=["uni"], methods=["ridge"], weights_root=str(tmp_path / "weights"))
    assert lab.encoders.weights("uni") == path
    assert lab.downloads() == []
    assert f"--weights {path}" in lab.encoders.options("uni", "lab", ["s1"])
    path.unlink()
    with pytest.raises(
        WeightsError, match=r"1 encoder.s. or method.s. are missing:\n  - encoder uni: its weights are not at .*UNI"
    ):
        plan(tmp_path, TWO_FOLDS, encoders=["uni"], methods=["ridge"], weights_root=str(tmp_path / "weights"))
    left_out = {"encoders": ["uni", "classical"], "not_run": {"uni": "no access yet"}}
    lab = plan(tmp_path, TWO_FOLDS, methods=["ridge"], weights_root=str(tmp_path / "weights"), **left_out)
    assert {group.encoder for group in lab.groups()} == {"classical"}


def test_patches_around_tiles_are_read_from_the_slides_images(tmp_path: Path) -> None:
    manifest = tmp_path / "lab.csv"
    manifest.write_text(HEADER + TWO_FOLDS)
    benchmark = {"root": str(tmp_path), "manifest": str(manifest), "format": "hest"}
    lab = Plan(validate({"benchmarks": {"lab": benchmark}, "methods": ["triplex/original"]}))
    assert {group.encoder for group in lab.groups()} == {"ciga+around"}
    assert lab.encoded_from("ciga+around", "lab", ["s1"]) == lab.tile_paths("lab", ["s1"])
    images = lab.embedded_images("ciga+around", "lab", ["s1", "s2"])
    assert images == [tmp_path / "wsis" / "s1.tif", tmp_path / "wsis" / "s2.tif"]
    words = shlex.split(lab.encoders.options("ciga+around", "lab", ["s1", "s2"], images))
    assert [words[at + 1] for at, word in enumerate(words) if word == "--image"] == [relative(path) for path in images]
    assert lab.method_tile_paths(lab.groups()[0], ["s1"]) == lab.tile_paths("lab", ["s1"])
    wanted = {item.files: item.encoders for item in lab.downloads()}
    assert {"ciga+around", "triplex/original"} <= set(wanted[("tenpercent_resnet18.ckpt",)])
    plain = plan(tmp_path, TWO_FOLDS, encoders=["classical"], methods=["triplex"])
    assert plain.embedded_images("classical", "lab", ["s1"]) == []


def test_patches_around_tiles_that_came_without_an_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ciga\+around' reads patches .* format hest_bench come ready"):
        plan(tmp_path, TWO_FOLDS, methods=["triplex/original"])


@pytest.mark.parametrize(
    ("row", "encoder", "words"),
    [
        ("ridge", "classical+around", r"ridge cannot use encoder 'classical\+around'"),
        ("triplex", "classical+around", r"triplex cannot use encoder 'classical\+around'"),
        ("triplex/original", "classical", r"triplex/original needs \+around for encoder 'classical'"),
    ],
)
def test_only_a_method_that_looks_at_patches_gets_them(tmp_path: Path, row: str, encoder: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(tmp_path, TWO_FOLDS, methods=[row], method_encoders={row: [encoder]})
