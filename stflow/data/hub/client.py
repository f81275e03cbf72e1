"""Questions to the hub: asked again where that may help, and refused in words that say what to do.

No message holds the token, nor any text of the client's own, which may hold signed addresses.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from stflow.data.hub.manifest import repository
from stflow.errors import AccessError, DataError, ResourceError, StflowError
from stflow.io import is_disk_full

Answer = TypeVar("Answer")

TRIES = 5
PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
#: HTTP answers after which another try may help.
PASSING = (408, 429, 500, 502, 503, 504)


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids every call."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def ask(name: str, what: str, call: Callable[[], Answer]) -> Answer:
    """The answer of ``call``, which asks the hub.

    After a dropped connection or an answer that passes (429, 5xx) it is asked again, `TRIES` times in all, with
    pauses that double, or as long as the hub's ``Retry-After`` says.

    Parameters
    ----------
    name
        The repository.
    what
        What is asked for, for messages: ``"IDC/adata/TENX95.h5ad"``.
    call
        Asks once; its errors are those of huggingface_hub.

    Raises
    ------
    AccessError
        The repository is gated, private or unknown to this account.
    DataError
        No such file or revision; the hub is not reached.
    ResourceError
        The disk is full or cannot be written.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    for attempt in range(1, TRIES + 1):
        try:
            return call()
        except (HTTPError, HfHubHTTPError, EntryNotFoundError, OSError, RuntimeError) as error:
            if is_disk_full(error):
                raise ResourceError(f"disk full while fetching {what} of {name}. Free space and run again.") from error
            if attempt == TRIES or not _passes(error):
                raise _told(error, name, what, attempt) from error
            pause = max(PAUSE_S * 2 ** (attempt - 1), _retry_after_s(error))
            print(f"{name}, {what}: {_seen(error)}; once more in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)
    raise AssertionError("the loop returns or raises")


def _passes(error: BaseException) -> bool:
    """Whether asking again may help. A `LocalEntryNotFoundError` comes after the client's own tries: it may not."""
    from httpx2 import TransportError
    from huggingface_hub.errors import EntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (EntryNotFoundError, OfflineModeIsEnabled)):
        return False
    if (status := _status(error)) is not None:
        return status in PASSING
    # A plain OSError is the client's check of the length: the connection ended before the file did. The others are of
    # its transfer by chunks (xet), which has no better names for them.
    broke_off = (TransportError, ConnectionError, TimeoutError, RuntimeError)
    return isinstance(error, broke_off) or (type(error) is OSError and error.errno is None)


def _status(error: BaseException | None) -> int | None:
    """HTTP status of an answer that was an error; None if there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _retry_after_s(error: BaseException) -> float:
    """Seconds that the hub asks to wait; 0 if it does not say."""
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(text), LONGEST_PAUSE_S) if text.isdigit() else 0.0


def _seen(error: BaseException | None) -> str:
    """An error in a few words, without the client's text."""
    status = _status(error)
    return f"the hub answered {status}" if status is not None else f"no connection ({type(error).__name__})"


def _told(error: BaseException, name: str, what: str, tries: int) -> StflowError:
    """What the user can do about an error of the client."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        EntryNotFoundError,
        FileMetadataError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = repository(name)
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    if isinstance(cause, GatedRepoError):
        here = "it is closed to the account of this token" if get_token() else "there is no token here"
        access = place.access.rstrip(".")
        return AccessError(f"{name} is gated, and {here}. Visit {place.page}: {access}. Then run: hf auth login")
    if isinstance(cause, RepositoryNotFoundError):
        return AccessError(
            f"the hub shows no {place.kind} {name} to this account. See {place.page}; if it opens there once you are "
            "logged in, run: hf auth login"
        )
    if isinstance(cause, RevisionNotFoundError):
        return DataError(f"{name} has no revision {place.revision!r}. Correct it in resources/hub.json; {place.page}")
    if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
        return DataError(f"{name} has no file {what} at the locked commit. Correct the split manifest; {place.page}")
    if isinstance(cause, FileMetadataError):
        return DataError(
            f"{what} of {name}: the answer is not the hub's. A proxy or a login page stands between: check the "
            "network, and HF_ENDPOINT if it is set."
        )
    if _status(cause) in (401, 403):
        return AccessError(
            f"the hub refuses this machine's token for {name} ({_status(cause)}). Make a new one with the right to "
            f"read gated repositories, and run: hf auth login. The page: {place.page}"
        )
    if isinstance(cause, OSError) and cause.errno is not None:
        return ResourceError(
            f"{what} of {name} cannot be written: {cause.strerror}. Check the disk and its permissions."
        )
    return DataError(
        f"{what} of {name}: {_seen(cause)}, after {tries} tries. Check the network and its proxy settings and run "
        "again; or fetch the files elsewhere and set data_root to the folder that holds the mirror "
        f"{place.folder!r}."
    )
