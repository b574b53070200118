"""Which credentials a device gets, and how often: HTTP authentication or a WS-UsernameToken.

Pure but for its lock. A call is first sent without any: what the device answers says which of the
two it takes, and a password that nobody asked for is never shown. The two are never sent together,
and a password is refused twice at most, for many cameras lock an account at the third time.
Sources: ONVIF Core specification (access control); quatanium/python-onvif#37 and agsh/onvif#501
for devices that lock.
"""

import asyncio
import enum
from collections.abc import Sequence

from adapters.errors import AuthenticationFailed, ProtocolViolation
from adapters.events import Secret
from adapters.media.digest import Credentials, parse_challenges

MAX_REFUSALS = 2


class Way(enum.Enum):
    """How a call is signed. NONE: not at all."""

    NONE = enum.auto()
    HTTP = enum.auto()
    TOKEN = enum.auto()


class Access:
    """The way into one device with one name and password.

    allow_basic: whether the password may be shown to whoever reads along. lock: held by a call
    while it is not `settled`, so that refusals cannot come from several calls at once.
    """

    def __init__(self, username: str, password: Secret, *, allow_basic: bool) -> None:
        self.way = Way.NONE
        self.lock = asyncio.Lock()
        self._username = username
        self._password = password
        self._allow_basic = allow_basic
        self._credentials = Credentials(username, password.reveal())
        self._refusals = 0
        self._worked: Way | None = None
        self._renewed = False

    @property
    def settled(self) -> bool:
        """Whether the way that is used now has worked before."""
        return self._worked is self.way

    @property
    def doubtful(self) -> bool:
        """Whether a token that was right before was refused just now: the password may have been
        changed, or the account may not do what was asked. Another call tells."""
        return self.settled and self.way is Way.TOKEN and self._refusals > 0

    def authorization(self, method: str, target: str) -> str | None:
        """The HTTP header of a request to a target (path and query)."""
        return self._credentials.authorization(method, target) if self.way is Way.HTTP else None

    def accepted(self) -> None:
        """The device answered a call that was sent this way."""
        self._worked = self.way
        self._renewed = False
        if self.way is not Way.NONE:
            self._refusals = 0

    def check(self) -> None:
        """Raises: AuthenticationFailed once the password was refused as often as we dare."""
        if self._refusals >= MAX_REFUSALS:
            raise AuthenticationFailed(
                f"it refused this user name and password {MAX_REFUSALS} times; not tried again, "
                "for cameras lock accounts: correct them first"
            )

    def refused(self, challenges: Sequence[str]) -> bool:
        """The device refused a call; whether it is worth another try, in another way or anew.

        challenges: its WWW-Authenticate headers. Raises: AuthenticationFailed where it only takes
        the password in clear and may not have it.
        """
        if not self._username:
            return False
        usable = self._usable(challenges)
        if self.way is Way.NONE:
            self._switch(Way.HTTP if usable else Way.TOKEN, usable)
            return True
        if self.way is Way.HTTP and not self._renewed and self._stale(usable):
            self._renewed = True
            return True
        if self.settled and self.way is Way.HTTP and not usable:
            return False  # it knows who we are: this account may not do this
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS:
            return False
        if self._worked is self.way:
            # Accepted before: a nonce that ran out unsaid, or the password was changed.
            if self.way is Way.HTTP:
                self._switch(Way.HTTP, usable)
                return True
            return False
        if self.way is Way.HTTP:
            self._switch(Way.TOKEN, ())
            return True
        if not usable:
            return False
        self._switch(Way.HTTP, usable)
        return True

    def _switch(self, way: Way, usable: Sequence[str]) -> None:
        self.way = way
        if way is Way.HTTP:
            self._credentials.take(usable)

    def _stale(self, usable: Sequence[str]) -> bool:
        """Whether only the nonce was refused; the new one is taken on."""
        try:
            return bool(usable) and self._credentials.take(usable)
        except ProtocolViolation:
            return False

    def _usable(self, challenges: Sequence[str]) -> Sequence[str]:
        """The challenges of HTTP that may be answered: Digest, or Basic where it stands alone.

        Raises: AuthenticationFailed where there is Basic alone, without leave.
        """
        schemes = {each: _schemes(each) for each in challenges}
        if digests := [each for each in challenges if "digest" in schemes[each]]:
            return digests
        basics = [each for each in challenges if "basic" in schemes[each]]
        if basics and not self._allow_basic:
            raise AuthenticationFailed(
                "it takes the password in clear only (Basic); give an https address, or allow it "
                "with the setting allow_basic"
            )
        return basics


def _schemes(header: str) -> frozenset[str]:
    """A Digest without a nonce cannot be answered, and is none."""
    return frozenset(
        each.scheme
        for each in parse_challenges([header])
        if each.scheme != "digest" or each.parameters.get("nonce")
    )
