#!/usr/bin/env python3
"""Jobs of Snakemake as Kubernetes jobs, through `kubectl` and its current context.

    kubectl_job.py submit --image I --claim C --mount P --rule R --threads N --mem-mb M --minutes T --gpu G SCRIPT
    kubectl_job.py status NAME      running, success or failed
    kubectl_job.py NAME...          cancel (Snakemake calls this as one file, with names alone)

A pod runs Snakemake's job script in the folder from which Snakemake was started, on the volume that both mount at the
same path. It is not started again by Kubernetes: Snakemake does that, with more memory. Needs no library.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

#: Where a node with GPUs is told from others.
GPU = "nvidia.com/gpu"
_KEEP_S = 3600


def manifest(options: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    """The job as `kubectl create` takes it."""
    needs = {"cpu": str(options.threads), "memory": f"{options.mem_mb}M"}
    gpus = {GPU: str(options.gpu)} if options.gpu else {}
    container = {
        "name": "job",
        "image": options.image,
        "command": ["bash", str(options.script.absolute())],
        "workingDir": str(folder),
        "resources": {"requests": {**needs, **gpus}, "limits": {"memory": needs["memory"], **gpus}},
        "volumeMounts": [{"name": "shared", "mountPath": options.mount}],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": options.claim}}],
    }
    if gpus:
        pod["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app": "stflow"}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": options.minutes * 60,
            "ttlSecondsAfterFinished": _KEEP_S,  # long enough for its state to be asked
            "template": {"spec": pod},
        },
    }


def submit(options: argparse.Namespace) -> None:
    """Create the job and print its name."""
    folder = Path.cwd()
    if not folder.is_relative_to(options.mount):
        sys.exit(f"kubectl_job.py: {folder} is not below {options.mount}, the volume that the pods mount.")
    rule = re.sub(r"[^a-z0-9]+", "-", options.rule.lower()).strip("-")[:40]
    name = f"stflow-{rule}-{uuid.uuid4().hex[:8]}"
    text = json.dumps(manifest(options, name, folder))
    done = subprocess.run(["kubectl", "create", "-f", "-"], input=text, text=True, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    print(name)


def status(options: argparse.Namespace) -> None:
    """Print what Snakemake wants to hear; a job that is gone has failed."""
    words = ["kubectl", "get", "job", options.name, "--output", "json", "--ignore-not-found"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        print("running")  # the question failed, which says nothing of the job
        return
    if not done.stdout.strip():
        print("failed")
        return
    conditions = json.loads(done.stdout).get("status", {}).get("conditions", [])
    ended = {condition["type"] for condition in conditions if condition.get("status") == "True"}
    print("success" if "Complete" in ended else "failed" if "Failed" in ended else "running")


def cancel(names: list[str]) -> None:
    """Delete jobs and their pods."""
    words = ["kubectl", "delete", "job", "--ignore-not-found", "--wait=false", *names]
    sys.exit(subprocess.run(words, check=False).returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("submit")
    for flag in ("--image", "--claim", "--rule"):
        one.add_argument(flag, required=True)
    one.add_argument("--mount", default=os.sep + "data")
    for flag in ("--threads", "--mem-mb", "--minutes", "--gpu"):
        one.add_argument(flag, type=int, required=True)
    one.add_argument("script", type=Path)
    one.set_defaults(run=submit)
    one = commands.add_parser("status")
    one.add_argument("name")
    one.set_defaults(run=status)
    if sys.argv[1:] and all(word.startswith("stflow-") for word in sys.argv[1:]):
        cancel(sys.argv[1:])
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
