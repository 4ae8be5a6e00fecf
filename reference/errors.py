"""Why reference data are refused.

ReferenceDataError
├── UnknownSet        no set of that name
├── MissingPackage    a generator's package is not installed
├── FolderInUse       another maker works in the folder
├── DamagedShard      a file that cannot be read to its end
├── BadRecord         a record that breaks a law of the format
│   └── ForeignSettings   … made with settings that its set does not have
└── DiskFull          no room for another record
"""


class ReferenceDataError(Exception):
    """Something is wrong with the reference data or with what was asked of them."""


class UnknownSet(ReferenceDataError):
    """No set has that name."""


class MissingPackage(ReferenceDataError):
    """A package that only generators need is not installed."""


class FolderInUse(ReferenceDataError):
    """Another maker holds the folder."""


class DamagedShard(ReferenceDataError):
    """A shard was cut short or is not HDF5."""


class BadRecord(ReferenceDataError):
    """A record breaks a law of the format."""


class ForeignSettings(BadRecord):
    """A record was made with settings that its set does not have."""


class DiskFull(ReferenceDataError):
    """The disk has no room for another record."""
