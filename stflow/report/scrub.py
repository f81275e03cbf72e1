"""Text of logs and configurations without what is nobody's business: tokens, home folders, paths and host names."""

from __future__ import annotations

import re
import socket
from pathlib import Path

#: Tokens of hubs and forges, and whatever follows a word that announces one.
_TOKEN = re.compile(r"\b(?:hf|ghp|gho|ghs|github_pat|glpat|sk|xox[abp])[_-][A-Za-z0-9_-]{8,}")
_ANNOUNCED = re.compile(
    r"(?i)\b(authorization|bearer|api[_-]?key|access[_-]?token|token|secret|password)\b(\"?\s*[:=]\s*\"?|\s+)"
    r"(?:bearer\s+)?[A-Za-z0-9._~+/-]{16,}=*"
)
#: An absolute path of two parts or more; not what follows a name, as in a run's name or an address.
_PATH = re.compile(r"(?<![\w.:/~\-])/(?:[^\s/:'\"<>,;()\[\]{}]+/)+[^\s/:'\"<>,;()\[\]{}]*")
_HOME = re.compile(r"(?<![\w.:/])(?:/root|/home/[\w.-]+|/Users/[\w.-]+|~[\w.-]*)/[^\s:'\"<>,;()\[\]{}]*")
#: Credentials in an address.
_LOGIN = re.compile(r"(?<=://)[^\s/@]+@")


def scrub(text: str, root: Path | None = None) -> str:
    """``text`` without tokens, passwords, host names and absolute paths.

    Parameters
    ----------
    text
        Anything.
    root
        The folder in which the workflow runs, which paths inside it are told from; default: the working folder. Of
        other absolute paths the last part is left.
    """
    here = str((root or Path.cwd()).absolute())
    text = _TOKEN.sub("<token>", text)
    text = _ANNOUNCED.sub(lambda found: f"{found[1]}{found[2]}<token>", text)
    text = _LOGIN.sub("", text)
    if len(here) > 1:
        text = re.sub(rf"{re.escape(here)}(?=$|[\s/:'\",;)\]}}])/?", "", text)
    text = _HOME.sub(_last_part, text)
    text = _PATH.sub(_last_part, text)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "<host>", text) if len(host) > 3 and host != "localhost" else text


def _last_part(found: re.Match[str]) -> str:
    return f".../{found[0].rstrip('/').rpartition('/')[2]}"
