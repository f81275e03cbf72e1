"""What the documents show runs."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Method, Task

ROOT = Path(__file__).resolve().parents[1]


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def some_slide(name: str, seed: int) -> Slide:
    rng = np.random.default_rng(seed)
    return Slide(
        name=name,
        patient=name,
        barcodes=np.array([f"{name}{i}" for i in range(30)], dtype=object),
        centres_px=rng.random((30, 2)) * 1000,
        mpp=0.5,
        genes=("A", "B", "C"),
        counts=sparse.csc_matrix(rng.poisson(2, (30, 3))),
        features={"fake": rng.random((30, 5), dtype=np.float32)},
    )


def test_the_method_of_the_guide_works_through_save_and_load(tmp_path: Path) -> None:
    namespace: dict[str, type[Method]] = {}
    exec(blocks("docs/extending.md", "python")[0], namespace)
    cls = namespace["Nearest"]
    train = [some_slide("a", 1), some_slide("b", 2)]
    method = cls(cls.Settings(), Task(("C", "A"), "fake"))
    assert method.fit(train, [], seed=0).facts == {"spots": 60}
    np.testing.assert_array_equal(method.predict(train[0], seed=0), train[0].expression(("C", "A")))
    method.save(tmp_path / "model.safetensors")
    again = cls.load(tmp_path / "model.safetensors")
    other = some_slide("c", 3)
    np.testing.assert_array_equal(method.predict(other, seed=0), again.predict(other, seed=0))


def test_the_variants_of_the_guide_are_settings_of_its_method() -> None:
    namespace: dict[str, type[Method]] = {}
    for block in blocks("docs/extending.md", "python"):
        if "Nearest" in block:
            exec(block, namespace)
    cls = namespace["NearestOfMany"]
    assert {name: cls.Settings(**changes).max_spots for name, changes in cls.variants.items()} == {
        "few": 500,
        "many": 50_000,
    }


def test_the_network_of_the_guide_is_short_is_configured_and_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stflow import config, plugins
    from stflow.models import METHODS
    from stflow.models.check import print_checks

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(METHODS, "_added", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    code = next(block for block in blocks("docs/extending.md", "python") if "SectionNetwork" in block)
    assert len(code.splitlines()) < 60
    (tmp_path / "far_and_near.py").write_text(code)
    yaml_block = next(block for block in blocks("docs/extending.md", "yaml") if "far_and_near.py" in block)
    loaded = config.validate({**yaml.safe_load(yaml_block), "encoders": ["classical"]})
    assert loaded.settings_of("far_and_near").radius_um == 150
    assert print_checks("far_and_near", "{}") == 0
    (shown,) = (block for block in blocks("docs/extending.md", "console") if "check-method" in block)
    assert capsys.readouterr().out.splitlines() == shown.splitlines()[1:]
    sys.modules.pop("far_and_near")


def test_the_encoder_of_the_guide_works_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    from stflow import config, plugins
    from stflow.encoders import ENCODERS
    from stflow.encoders.create import create

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(ENCODERS, "_added", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    code = next(block for block in blocks("docs/extending.md", "python") if "NetworkEncoder" in block)
    (tmp_path / "lab_vit.py").write_text(code)
    network = timm.create_model("vit_small_patch16_224", num_classes=0).eval()
    (tmp_path / "weights").mkdir()
    save_file(network.state_dict(), tmp_path / "weights" / "lab_vit.safetensors")

    (yaml_block,) = (block for block in blocks("docs/extending.md", "yaml") if "lab_vit.py" in block)
    loaded = config.validate(yaml.safe_load(yaml_block))
    assert loaded.encoders == ["uni", "lab_vit", "lab_vit+dihedral"]
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    path = loaded.weights_path(ENCODERS.get("lab_vit").weights)
    features = create("lab_vit", weights=path)(tiles)
    with torch.inference_mode():
        expected = network((torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)
    averaged = create("lab_vit+dihedral", weights=path)(tiles)
    np.testing.assert_allclose(create("lab_vit+dihedral", weights=path)(tiles[:, ::-1]), averaged, atol=1e-5)
    sys.modules.pop("lab_vit")


def test_the_table_of_encoders_is_the_registry_s() -> None:
    from stflow.data.hub.manifest import repository
    from stflow.encoders import ENCODERS
    from stflow.encoders.base import Weights

    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", text, re.M)
    }
    assert list(rows) == ENCODERS.names()
    for name, (dim, parameters, weights, licence) in rows.items():
        encoder = ENCODERS.get(name)
        assert (int(dim), licence) == (encoder.dim, encoder.licence)
        if encoder.n_params is not None:
            assert float(parameters.removesuffix(" M")) == pytest.approx(encoder.n_params / 1e6, abs=0.51)
        if isinstance(encoder.weights, Weights):
            assert f"`{encoder.weights.repository}`" in weights
            assert repository(encoder.weights.repository).files[encoder.weights.file]
    variants = set(
        re.findall(r"`(\w+)\+(\w+)`", text.partition("## Settings of an encoder")[2].partition("They combine")[0])
    )
    own = {(name, variant) for name in ENCODERS.names() for variant in ENCODERS.get(name).variants}
    assert own <= variants


DOCUMENTS = [path for folder in ("", "benchmarks", "config", "docs") for path in sorted((ROOT / folder).glob("*.md"))]


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{document} links to {target}"


def test_every_make_target_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = set(re.findall(r"^\s*make (?:[A-Z0-9]+=\S+ )*([a-z][a-z0-9-]*)", text, flags=re.MULTILINE))
    assert {"demo", "test"} <= wanted
    for target in wanted:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize(
    "document", ["README.md", "config/README.md", "docs/data.md", "docs/search.md", "config/ablations.yaml"]
)
def test_snakemake_takes_the_commands_of_the_documents_as_meant(document: str) -> None:
    """An option of several values swallows a target that follows it."""
    from snakemake.cli import get_argument_parser

    parser = get_argument_parser()
    lines = re.findall(r"^[# ]*snakemake (.*?)(?: +#.*)?$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        assert parser.parse_args(line.split()).targets, line


def test_every_configuration_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"--configfile ([\w./]+)", text):
        assert (ROOT / name).is_file(), name


def test_the_readings_of_the_guide_are_the_released_variant() -> None:
    from stflow.models.stflow import STFlow

    table = (ROOT / "docs" / "stflow.md").read_text(encoding="utf-8").split("## Where paper")[1].split("##")[0]
    told = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert set(told) == set(STFlow.variants["released"])


def test_the_variants_of_the_guide_exist() -> None:
    from stflow.models.stflow import STFlow

    text = (ROOT / "docs" / "stflow.md").read_text(encoding="utf-8").split("## Variants")[1].split("A variant that")[0]
    told = {name for row in re.findall(r"^\| (?!paper|---)(.*)\|$", text, flags=re.MULTILINE) for name in
            re.findall(r"`(\w+)`", row)}  # fmt: skip
    grid = {name for name in STFlow.variants if name.startswith("zinb_")}
    assert told == set(STFlow.variants) - grid


def test_the_exports_of_the_guide_are_those_of_the_demo() -> None:
    from stflow import config
    from stflow.plan_exports import ExportPlan
    from stflow.workflow import Plan

    (yaml_block,) = blocks("docs/report.md", "yaml")
    demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    files = ExportPlan(Plan(config.validate({**demo, **yaml.safe_load(yaml_block)}))).files()
    text = (ROOT / "docs" / "report.md").read_text()
    assert str(files[0]) in text
    assert files[1].name == "DEMO1A.h5ad"
    assert "/ridge/default/paper/" in str(files[1])
