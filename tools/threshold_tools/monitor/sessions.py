"""The token, the sessions that it opens, and what forms must bring back. Pure: the time is given.

A session is a cookie that this key has signed, so that nothing is stored and a restart with the same token keeps it; a
new token ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from pathlib import Path

from edge.core.errors import InputError

SESSION_S = 12 * 3600  # a session ends so long after signing in
MIN_TOKEN_LENGTH = 16  # characters: 64 bits even if only hexadecimal digits are used
MAX_FAILURES = 5  # wrong tokens from one address ...
FAILURE_WINDOW_S = 60.0  # ... within this time, and then none is looked at until it is over
_MAX_ADDRESSES = 1000


class SessionSigner:
    """Signs and checks sessions and forms.

    Args:
        token: what opens a session; None where nobody has to sign in.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._key = secrets.token_bytes(32) if token is None else _derive_key(token)
        self._public_key = secrets.token_bytes(32)

    @property
    def required(self) -> bool:
        """Whether one has to sign in."""
        return self._token is not None

    def check_token(self, guess: str) -> bool:
        """Whether this is the token; takes equally long for every wrong one."""
        if self._token is None:
            return False
        return hmac.compare_digest(_digest(guess), _digest(self._token))

    def open_session(self, now_s: int) -> str:
        """A cookie's value, good for `SESSION_S` from `now_s` on."""
        body = f"{now_s + SESSION_S}.{secrets.token_hex(8)}"
        return f"{body}.{self._sign('session', body)}"

    def session_valid(self, cookie: str, now_s: int) -> bool:
        """Whether we have signed this cookie, and its time is not over."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return False
        return now_s < int(body.partition(".")[0])

    def csrf_token(self, cookie: str) -> str:
        """What a form of this session must bring back.

        Without a session ("") it is signed with a random key of this process: the sign-in page shows it to everybody,
        who could otherwise try tokens against it at home.
        """
        return self._sign("form", cookie) if cookie else hmac.digest(self._public_key, b"form", "sha256").hex()

    def csrf_valid(self, guess: str, cookie: str) -> bool:
        """Whether a form has brought it back."""
        return hmac.compare_digest(guess.encode(), self.csrf_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}:{text}".encode(), "sha256").hex()


class LoginThrottle:
    """Wrong tokens by `network_of` an address; remembers a bounded number of them, the latest."""

    def __init__(self) -> None:
        self._failed: dict[str, list[float]] = {}

    def wait_s(self, address: str, now_s: float) -> float:
        """How long this address has to wait before its next try; 0: not at all."""
        recent = [at_s for at_s in self._failed.get(network_of(address), ()) if now_s - at_s < FAILURE_WINDOW_S]
        return FAILURE_WINDOW_S - (now_s - recent[0]) if len(recent) >= MAX_FAILURES else 0.0

    def add_failure(self, address: str, now_s: float) -> None:
        """Note a wrong token."""
        network = network_of(address)
        recent = [at_s for at_s in self._failed.pop(network, ()) if now_s - at_s < FAILURE_WINDOW_S]
        self._failed[network] = [*recent, now_s][-MAX_FAILURES:]
        while len(self._failed) > _MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which one host has to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def read_token(path: Path) -> str:
    """The first line of a token file.

    Raises:
        InputError: it cannot be read, is no text, is too short, or others may read it.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text("utf-8").partition("\n")[0].strip()
    except OSError as error:
        raise InputError(f"{path}: the token cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the token is no UTF-8 text") from error
    if mode & 0o077:
        raise InputError(f"{path}: others may read the token: chmod go= {path}")
    if len(token) < MIN_TOKEN_LENGTH:
        raise InputError(
            f"{path}: the token in its first line has {len(token)} characters, {MIN_TOKEN_LENGTH} are needed: "
            f"openssl rand -hex 16 > {path}"
        )
    return token


def _derive_key(token: str) -> bytes:
    """The key of sessions from the token: scrypt, 16 MiB and some 50 ms, so that a cookie is no fast test of guesses.

    The salt is fixed, so that sessions outlive a restart with the same token.
    """
    return hashlib.scrypt(token.encode(), salt=b"threshold monitor session", n=2**14, r=8, p=1, dklen=32)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
