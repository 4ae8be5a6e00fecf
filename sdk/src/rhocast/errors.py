"""Every error that rhocast raises, on either side of the wire.

The server raises one of these; the wire carries its name, status and sentence as an
RFC 9457 problem document; the client raises the same class with the same sentence.

    RhocastError
    ├── InvalidRequest (400)             the request cannot be read
    │   ├── InvalidFile                  a structure or density file cannot be read
    │   └── InvalidField (422)           a field has a value that cannot be used
    │       ├── InvalidStructure         atoms that no model can answer for
    │       ├── InvalidGrid              a grid that cannot be made
    │       ├── UnknownModel             a model that no worker has
    │       ├── UnsupportedByModel       a structure outside what this model answers
    │       └── IdempotencyConflict      one key, two different requests
    ├── Unauthorized (401)               no API key, or one that no longer counts
    ├── Forbidden (403)                  an API key that may not do this
    ├── NotFound (404)
    │   ├── JobNotFound
    │   ├── BatchNotFound
    │   └── ArtifactNotFound
    ├── MethodNotAllowed (405)
    ├── NotAcceptable (406)
    ├── Conflict (409)
    │   ├── JobNotFinished               its artifacts do not exist yet
    │   └── JobCancelled
    ├── ArtifactExpired (410)
    ├── TooLarge (413)                   body, structure or grid above a limit
    ├── UnsupportedFormat (415)
    ├── TooManyRequests (429)            the queue is full
    │   ├── RateLimited                  more atoms at once than the API key may ask for
    │   └── QuotaExceeded                more atoms in a day than the API key may ask for
    ├── ServerError (500)
    │   ├── PredictionFailed             the model raised
    │   ├── WorkerLost                   the job killed its worker at every delivery
    │   ├── UnusableWeights              weights that are missing or not the catalogue's
    │   ├── ServiceUnavailable (503)     the store or the queue does not answer
    │   └── StorageFull (507)
    └── ClientError                      raised on the client alone
        ├── ConnectionFailed             no server answers at this address
        ├── WaitTimeout                  the job goes on; the client stopped waiting
        ├── DamagedDownload              the bytes do not match their hash
        └── ApplicationMissing           `serve` and `worker` need the application
"""

from collections.abc import Iterator


class RhocastError(Exception):
    """Root of the tree; its text says what was found, what was expected and what to do."""

    status: int = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidRequest(RhocastError):
    status = 400


class InvalidFile(InvalidRequest):
    pass


class InvalidField(InvalidRequest):
    status = 422


class InvalidStructure(InvalidField):
    pass


class InvalidGrid(InvalidField):
    pass


class UnknownModel(InvalidField):
    pass


class UnsupportedByModel(InvalidField):
    pass


class IdempotencyConflict(InvalidField):
    pass


class Unauthorized(RhocastError):
    status = 401


class Forbidden(RhocastError):
    status = 403


class NotFound(RhocastError):
    status = 404


class JobNotFound(NotFound):
    pass


class BatchNotFound(NotFound):
    pass


class ArtifactNotFound(NotFound):
    pass


class MethodNotAllowed(RhocastError):
    status = 405


class NotAcceptable(RhocastError):
    status = 406


class Conflict(RhocastError):
    status = 409


class JobNotFinished(Conflict):
    pass


class JobCancelled(Conflict):
    pass


class ArtifactExpired(RhocastError):
    status = 410


class TooLarge(RhocastError):
    status = 413


class UnsupportedFormat(RhocastError):
    status = 415


class TooManyRequests(RhocastError):
    status = 429


class RateLimited(TooManyRequests):
    pass


class QuotaExceeded(TooManyRequests):
    pass


class ServerError(RhocastError):
    status = 500


class PredictionFailed(ServerError):
    pass


class WorkerLost(ServerError):
    pass


class UnusableWeights(ServerError):
    pass


class ServiceUnavailable(ServerError):
    status = 503


class StorageFull(ServerError):
    status = 507


class ClientError(RhocastError):
    status = 0


class ConnectionFailed(ClientError):
    pass


class WaitTimeout(ClientError):
    pass


class DamagedDownload(ClientError):
    pass


class ApplicationMissing(ClientError):
    pass


def _tree(root: type[RhocastError]) -> Iterator[type[RhocastError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def error_from_problem(code: str, status: int, detail: str) -> RhocastError:
    """The error that a problem document stands for: the class named `code`, else the nearest by status."""
    classes = {error.__name__: error for error in _tree(RhocastError)}
    if code in classes:
        return classes[code](detail)
    by_status = {error.status: error for error in reversed(classes.values()) if error is not RhocastError}
    error = by_status.get(status, ServerError if status >= 500 else InvalidRequest)(detail)
    error.status = status
    return error
