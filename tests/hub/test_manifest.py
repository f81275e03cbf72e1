"""resources/hub.json: what it says of every repository, and that the formats read the files it names."""

import re
from pathlib import Path

import pytest

from stflow.data.facts import slide_facts
from stflow.data.formats import FORMATS
from stflow.data.hub.manifest import repositories, repository
from stflow.data.sources import BRINGS_GENE_LISTS
from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder
from stflow.errors import DataError

FORMAT_OF = {"MahmoodLab/hest-bench": "hest_bench", "MahmoodLab/hest": "hest", "jiawennnn/STimage-1K4M": "stimage"}


def test_every_repository_says_where_its_terms_are_and_how_to_get_in() -> None:
    for name, place in repositories().items():
        assert name in place.page
        assert place.access
        assert place.gated in (False, None) or "hf auth login" in place.access
    folders = [place.folder for place in repositories().values()]
    assert len(set(folders)) == len(folders)


def test_an_unknown_repository_is_told_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no repository 'MahmoodLab/hest2'. Known: .*MahmoodLab/hest,"):
        repository("MahmoodLab/hest2")


@pytest.mark.parametrize("name", FORMAT_OF)
def test_the_format_reads_just_the_files_of_the_manifest(name: str, tmp_path: Path) -> None:
    """On an empty folder: what is downloaded may not depend on what is there."""
    files = FORMATS.get(FORMAT_OF[name])(tmp_path)
    gene_list = files.gene_list_file("IDC") if ("hub", files.name) in BRINGS_GENE_LISTS else None
    read = {
        *files.counts_files("IDC", "S1"),
        *files.image_files("IDC", "S1"),
        *files.sidecar_files("IDC", "S1"),
        *([gene_list] if gene_list else []),
    }
    names = {"dataset": "IDC", "slide": "S1", "technology": "Visium"}
    # A path without a name to fill in is one file, weights: the formats know nothing of those.
    patterns = [pattern for pattern in repository(name).files.values() if "{" in pattern]
    named = {pattern.format(**names) for pattern in patterns}
    assert {path.relative_to(tmp_path).as_posix() for path in read} == named
    assert all(set(re.findall(r"{(\w+)}", pattern)) <= names.keys() for pattern in patterns)


def test_the_technology_of_a_published_slide_needs_no_disk(tmp_path: Path) -> None:
    """Also where a file of that name stands in the other folder."""
    (dataset, slide), facts = next(iter(slide_facts("stimage").items()))
    files = FORMATS.get("stimage")(tmp_path)
    (tmp_path / "ST" / "coord").mkdir(parents=True)
    (tmp_path / "ST" / "coord" / f"{slide}_coord.csv").touch()
    (tmp_path / "ST" / "coord" / "Mine_coord.csv").touch()
    assert files.image_files(dataset, slide) == [tmp_path / facts.technology / "image" / f"{slide}.png"]
    assert files.image_files(dataset, "Mine") == [tmp_path / "ST" / "image" / "Mine.png"]


def test_the_guide_s_table_says_what_the_manifest_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\S+/\S+)` \| .* \| (\S[^|]*) \| [^|]+ \|$", text, flags=re.MULTILINE))
    licences = {name: place.licence or "not stated" for name, place in repositories().items()}
    assert rows.items() <= licences.items()
    assert {name for name, place in repositories().items() if place.kind != "model"} <= rows.keys()


def test_every_encoder_s_weights_are_in_the_manifest() -> None:
    """Under the licence that the encoder itself names, where the page states one."""
    for name in ENCODERS.names():
        if name == "gigapath_slide":  # the tile encoder's repository
            continue
        kind: type[Encoder] = ENCODERS.get(name)
        if kind.weights is None:
            continue
        place = repository(kind.weights.repository)
        assert "{" not in place.files[kind.weights.file], "one file, the same for all slides"
        if place.kind == "model":
            assert place.licence == kind.licence


def test_open_repositories_ask_for_no_account() -> None:
    for name, place in repositories().items():
        words = {False: "without an account", "auto": "gree to the terms", "manual": "Ask for access"}
        assert words.get(place.gated, "") in place.access, name
