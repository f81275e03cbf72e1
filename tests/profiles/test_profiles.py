"""Profiles load, and do what they say, as far as it shows without a cluster."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "workflow" / "profiles"
SUBMITTER = PROFILES / "kubernetes" / "kubectl_job.py"

#: Stands in for kubectl: runs the pod's command here, and remembers what it was given and how it ended.
KUBECTL = """#!{python}
import json, os, pathlib, subprocess, sys
here = pathlib.Path({folder!r})
verb, *words = sys.argv[1:]
if verb == "create":
    job = json.load(sys.stdin)
    name = job["metadata"]["name"]
    (here / f"{{name}}.json").write_text(json.dumps(job))
    container = job["spec"]["template"]["spec"]["containers"][0]
    rc = subprocess.run(container["command"], cwd=container["workingDir"], stdout=subprocess.DEVNULL).returncode
    condition = {{"type": "Failed" if rc else "Complete", "status": "True"}}
    (here / f"{{name}}.state").write_text(json.dumps({{"status": {{"conditions": [condition]}}}}))
elif verb == "get":
    path = here / f"{{words[1]}}.state"
    print(path.read_text() if path.exists() else "")
elif verb == "delete":
    (here / "deleted").write_text(" ".join(words))
"""
SMALL = """
rule all:
    input: "b.txt"
rule a:
    output: "a.txt"
    threads: 2
    resources: mem_mb=1234, runtime=7, gpu=1
    shell: "echo a > {output}"
rule b:
    input: "a.txt"
    output: "b.txt"
    shell: "cat {input} > {output}"
"""


def snakemake(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=folder,
        env={**os.environ, "STFLOW_PRELOAD": "off", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_they_keep_what_the_default_says_of_any_machine(name: str) -> None:
    default, profile = (yaml.safe_load((PROFILES / kind / "config.yaml").read_text()) for kind in ("default", name))
    for key in ("scheduler", "keep-going", "rerun-incomplete", "show-failed-logs", "report-stylesheet"):
        assert profile[key] == default[key], key
    assert profile["resources"].keys() == default["resources"].keys()


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_snakemake_takes_them(name: str, tmp_path: Path) -> None:
    words = ("--dry-run", "table1", "--configfile", "config/demo.yaml", "--config", f"results={tmp_path}")
    done = snakemake(ROOT, *words, "--workflow-profile", f"workflow/profiles/{name}")
    assert done.returncode == 0, done.stdout[-2000:]
    assert f"Using workflow specific profile workflow/profiles/{name}" in done.stdout


def test_groups_and_partitions_name_what_there_is() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    profile = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    assert all(f"rule {name}:" in rules for name in profile["groups"])
    assert set(profile["groups"].values()) == profile["group-components"].keys()
    assert (ROOT / profile["slurm-partition-config"]).is_file()


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """A folder with a stand-in for kubectl, and what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "kubectl"
    path.write_text(KUBECTL.format(python=sys.executable, folder=str(folder)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def test_jobs_reach_kubernetes(kubectl: Path, tmp_path: Path) -> None:
    run = tmp_path / "data" / "run"
    (run / "workflow").mkdir(parents=True)
    (run / "workflow" / "Snakefile").write_text(SMALL)
    profile = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text())
    place = f"{sys.executable} {SUBMITTER}"
    for key in ("submit", "status"):
        command = profile[f"cluster-generic-{key}-cmd"].replace(
            "python3 workflow/profiles/kubernetes/kubectl_job.py", place
        )
        profile[f"cluster-generic-{key}-cmd"] = command.replace("--mount /data", f"--mount {tmp_path / 'data'}")
    profile.pop("report-stylesheet")
    (run / "profile").mkdir()
    (run / "profile" / "config.yaml").write_text(yaml.safe_dump(profile))
    path = os.pathsep.join([str(kubectl), os.environ["PATH"]])
    done = snakemake(run, "--workflow-profile", "profile", PATH=path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (run / "b.txt").read_text() == "a\n"

    jobs = {path.name.split("-")[1]: json.loads(path.read_text()) for path in kubectl.glob("stflow-*.json")}
    assert jobs.keys() == {"a", "b"}
    pod = jobs["a"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "1234M", "nvidia.com/gpu": "1"}
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == str(tmp_path / "data")
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "stflow-data"}
    assert jobs["a"]["spec"]["activeDeadlineSeconds"] == 7 * 60
    assert jobs["a"]["spec"]["backoffLimit"] == 0
    assert "nvidia.com/gpu" not in json.dumps(jobs["b"])


def ask(kubectl: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(kubectl), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, str(SUBMITTER), *words],
        env={**os.environ, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_that_is_gone_has_failed_and_jobs_are_cancelled(kubectl: Path, tmp_path: Path) -> None:
    assert ask(kubectl, tmp_path, "status", "gone").stdout == "failed\n"
    (kubectl / "new.state").write_text('{"status": {"active": 1}}')
    assert ask(kubectl, tmp_path, "status", "new").stdout == "running\n"
    cancel = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text())["cluster-generic-cancel-cmd"]
    path = os.pathsep.join([str(kubectl), os.environ["PATH"]])
    subprocess.check_call(
        [ROOT / cancel, "stflow-one", "stflow-two"], env={**os.environ, "PATH": path}
    )  # as Snakemake does
    assert (kubectl / "deleted").read_text().endswith("stflow-one stflow-two")
    (kubectl / "kubectl").write_text("#!/bin/sh\necho no connection >&2\nexit 1\n")
    assert ask(kubectl, tmp_path, "status", "new").stdout == "running\n", (
        "a question that fails says nothing of the job"
    )


def test_a_folder_that_pods_do_not_see_is_refused(kubectl: Path, tmp_path: Path) -> None:
    words = ("--image", "i", "--claim", "c", "--mount", "/elsewhere", "--rule", "r", "--threads", "1")
    done = ask(kubectl, tmp_path, "submit", *words, "--mem-mb", "1", "--minutes", "1", "--gpu", "0", "script")
    assert done.returncode != 0
    assert f"{tmp_path} is not below /elsewhere" in done.stderr
