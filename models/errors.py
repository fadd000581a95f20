"""Every error this project raises on purpose.

ThrongError                 exit 1
├── InputError              exit 2: what the user gave cannot be used
│   ├── ConfigError         a setting is missing or makes no sense
│   ├── DataError           a data set, recipe or run folder is not what it should be
│   └── PictureError        a picture cannot be counted (carries a stable code)
├── SourceError             a video source cannot be opened or read
│   ├── SourceRefused       it wants another login: asking again at once would lock us out
│   └── SourceEnded         it gave its last frame: nothing is wrong
├── ArtefactError           exit 3: what we ship cannot be used
│   ├── BundleError         a bundle is missing, incomplete or altered
│   └── ParityError         an engine disagrees with the trained net
├── EngineError             an engine cannot load or run
└── Overloaded              there is more work than the machine can do now

Messages are one line: what came, what was wanted, what to do.
"""


class ThrongError(Exception):
    """The root: catch this to catch everything we raise on purpose."""

    exit_code = 1


class InputError(ThrongError):
    exit_code = 2


class ConfigError(InputError):
    pass


class DataError(InputError):
    pass


class PictureError(InputError):
    """`code` is stable and machine-readable; `status` is its HTTP status."""

    def __init__(self, code: str, message: str, *, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class SourceError(ThrongError):
    pass


class SourceRefused(SourceError):  # noqa: N818  # says what happened
    pass


class SourceEnded(SourceError):  # noqa: N818  # an end is no error
    pass


class ArtefactError(ThrongError):
    exit_code = 3


class BundleError(ArtefactError):
    pass


class ParityError(ArtefactError):
    pass


class EngineError(ThrongError):
    exit_code = 3


class Overloaded(ThrongError):  # noqa: N818  # a state, not a mistake
    """Try again in `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
