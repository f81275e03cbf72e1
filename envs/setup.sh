#!/usr/bin/env bash
# Make the virtual environment from the lock file, or find that it is there already.
#
#   envs/setup.sh <folder> [<python>]
#
# <python> is an interpreter of version 3.11, 3.12 or 3.13; without it, an environment that is there is kept, else the
# first fitting one on the PATH is taken. Each of the two steps, the packages and this project, leaves a mark when it
# is through. The packages' mark bears the checksum of the lock file and of the place: an environment that was
# interrupted, is of another lock file or was moved is made again.
set -euo pipefail

venv=$1
python=${2:-}
lock=envs/requirements.lock
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
version='import sys; print("%d.%d" % sys.version_info[:2])'

checksum=$({ pwd; cat "$lock"; } | cksum | cut -d' ' -f1)
linked=$venv/.linked-$(cksum <pyproject.toml | cut -d' ' -f1)

supports() { "$1" -c "$supported" 2>/dev/null; }

packages=
if [ -n "$python" ]; then
    if ! command -v "$python" >/dev/null; then
        echo "stflow: there is no $python here. Name a Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12 demo" >&2
        exit 2
    fi
    if ! supports "$python"; then
        echo "stflow: $python is $("$python" --version 2>&1 | head -n 1), and Python 3.11, 3.12 or 3.13 is needed." >&2
        echo "        Name one: make PYTHON=/path/to/python3.12 demo" >&2
        exit 2
    fi
else
    for mark in "$venv"/.packages-*-"$checksum"; do
        if [ -e "$mark" ]; then packages=$mark; fi
    done
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if [ -z "$packages$python" ] && supports "$candidate"; then python=$candidate; fi
    done
    if [ -z "$packages$python" ]; then
        found=$(python3 --version 2>/dev/null || echo "not there")
        echo "stflow: no Python 3.11, 3.12 or 3.13 on the PATH (python3 is $found)." >&2
        echo "        Install one, or name it: make PYTHON=/path/to/python3.12 demo" >&2
        exit 2
    fi
fi
packages=${packages:-$venv/.packages-$("$python" -c "$version")-$checksum}

install() { "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "$@"; }

if [ ! -e "$packages" ]; then
    echo "stflow: installing the $(grep -c '==' "$lock") pinned packages into $venv ($("$python" --version))," \
        "once: some 3 minutes and 7 GB" >&2
    "$python" -m venv --clear "$venv"
    install --requirement "$lock"
    touch "$packages"
fi
if [ ! -e "$linked" ]; then
    install --no-deps --no-build-isolation --editable .
    touch "$linked"
    echo "stflow: $venv is ready" >&2
fi
