"""Every error a user can cause, in one tree; each says what is wrong, where, and what to do next.

    StflowError (1)
    ├── ConfigError (2)      the configuration file
    ├── DataError (3)        slides, tiles, features, counts, genes, folds
    │   ├── SlideError         an image that cannot be opened or has no scale
    │   ├── IntegrityError     a file that is cut short or not what it says it is
    │   ├── AccessError        a repository that is closed to this account
    │   ├── GeneError          a gene list that the counts do not hold
    │   └── SplitError         a fold that cannot be used
    │       └── LeakageError     a patient on both sides of a fold
    ├── WeightsError (4)     encoder weights that are missing, gated or of another model
    ├── ResourceError (5)    disk, memory or device
    ├── RegistryError (6)    an unknown or doubly named method, encoder or format
    └── RunFailed (7)        a training that diverged or did not fit into memory; the workflow records it and goes on

The number is the exit code of the command line; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

from typing import ClassVar


class StflowError(Exception):
    """Base of every error that the user can mend."""

    exit_code: ClassVar[int] = 1


class ConfigError(StflowError):
    """The configuration file holds unknown keys, wrong types or unknown names."""

    exit_code = 2


class DataError(StflowError):
    """Input data that cannot be used as they are."""

    exit_code = 3


class SlideError(DataError):
    """A slide image that cannot be opened, is empty, or has no um/px."""


class IntegrityError(DataError):
    """A file that is truncated, or whose count or hash is not what was promised."""


class AccessError(DataError):
    """A gated or private repository that is closed to this account, or to this machine for want of a token."""


class GeneError(DataError):
    """A gene list that names genes which the counts do not hold."""


class SplitError(DataError):
    """A fold that is missing, empty, or names unknown slides."""


class LeakageError(SplitError):
    """A fold with the same patient (or slide) on both sides."""


class WeightsError(StflowError):
    """Encoder weights that are missing, gated, or do not fit the architecture."""

    exit_code = 4


class ResourceError(StflowError):
    """Not enough disk, memory or devices."""

    exit_code = 5


class RegistryError(StflowError):
    """A name that is unknown, or registered twice."""

    exit_code = 6


class RunFailed(StflowError):
    """A training or prediction that cannot give a result, though nothing is wrong with the data or the code.

    A method raises it when its loss is no longer finite, or when memory runs out after it has backed off. The run is
    then written with status ``failed`` and this message as the reason, so that the others go on.
    """

    exit_code = 7
