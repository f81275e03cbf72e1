"""The doctor finds what is wrong, names the remedy, and never shows the token."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stflow import doctor


def test_old_and_new_pythons_fail_with_the_remedy() -> None:
    assert doctor.python_version((3, 12)).verdict == "PASS"
    for version in ((3, 10), (3, 14)):
        finding = doctor.python_version(version)
        assert finding.verdict == "FAIL"
        assert "3.11, 3.12 or 3.13" in finding.remedy


def test_disk_space_has_three_answers(tmp_path: Path) -> None:
    verdicts = [doctor.disk(tmp_path / "results", lambda _, gb=gb: gb).verdict for gb in (1.0, 100.0, 900.0)]
    assert verdicts == ["FAIL", "WARN", "PASS"]


def test_gpus_are_told_with_how_many_are_leased(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from stflow import lease

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"H{number}00")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(lease, "_physical", tuple)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv(lease.FOLDER_VARIABLE, str(tmp_path))
    assert doctor.cuda_devices().seen == "H000 (80 GiB); H100 (80 GiB); 2 of 2 not leased by a job"
    with lease.lease(1):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        assert doctor.cuda_devices().seen.endswith("1 of 2 not leased by a job")


def test_offline_asks_nothing_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "hub_access", refuse)
    assert any(finding.seen.startswith("HF_HUB_OFFLINE") for finding in doctor.all_findings(tmp_path))


def test_the_token_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_mine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    doctor.examine(tmp_path)
    shown = capsys.readouterr().out
    assert "present" in shown
    assert "secret" not in shown


def test_a_gated_repository_names_the_page_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError

    def gated(*_: object, **__: object) -> None:
        request = httpx2.Request("GET", "http://localhost")
        raise GatedRepoError("gated", response=httpx2.Response(403, request=request))

    monkeypatch.setattr(HfApi, "auth_check", gated)
    finding = doctor.hub_access("MahmoodLab/UNI")
    assert finding.verdict == "WARN"
    assert "MahmoodLab/UNI" in finding.remedy
    assert "hf auth login" in finding.remedy


def test_an_unreachable_hub_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import httpx2
    from huggingface_hub import HfApi

    def down(*_: object, **__: object) -> None:
        raise httpx2.ConnectError("no route")

    monkeypatch.setattr(HfApi, "auth_check", down)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert doctor.hub_access("MahmoodLab/UNI").verdict == "WARN"
    told = [finding for finding in doctor.all_findings(tmp_path) if finding.what.startswith("hub:")]
    assert [finding.seen for finding in told] == ["not reached (ConnectError)"], "one line for all"


def test_repositories_are_told_one_by_one_where_their_answers_differ(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(name: str) -> doctor.Finding:
        return doctor.Finding("WARN", f"hub: {name}", "open" if name.endswith("UNI") else "closed", "see its page")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(doctor, "hub_access", answer)
    told = {finding.what: finding.seen for finding in doctor.all_findings(tmp_path)}
    assert told["hub: MahmoodLab/UNI"] == "open"
    assert told["hub: MahmoodLab/UNI2-h"] == "closed"


def test_a_failure_is_the_command_s_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from stflow.cli import main

    monkeypatch.setattr(doctor, "all_findings", lambda _: [doctor.Finding("FAIL", "disk", "1 GB", "free some")])
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--results", str(tmp_path)])
    assert ended.value.code == 1
