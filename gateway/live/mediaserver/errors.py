"""Why a media server is not used.

MediaServerError   message: one clause for a person
├── Away           it does not answer; asked again
├── Refused        it does not take our token: its keys or its clock are not ours
└── Unsafe         it is set up so that more than our tokens open it; not used before that ends
"""


class MediaServerError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Away(MediaServerError):
    pass


class Refused(MediaServerError):
    pass


class Unsafe(MediaServerError):
    pass
