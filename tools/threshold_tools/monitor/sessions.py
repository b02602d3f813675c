"""The token, the code of the sign-in link, sessions and form tokens, signed with itsdangerous. Reads no clock.

A session is a signed cookie and is not stored: it stays valid after a restart with the same token, and a new token
ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
from pathlib import Path

from itsdangerous import BadSignature, Signer

from edge.core.credentials import secret_line
from edge.core.errors import InputError

SESSION_S = 12 * 3600  # a session ends this long after signing in
CODE_S = 600  # the sign-in link works this long after the start
MIN_TOKEN_LENGTH = 16  # characters: 64 bits even if only hexadecimal digits are used
MAX_FAILURES = 5  # wrong tokens from one address ...
FAILURE_WINDOW_S = 60.0  # ... within this time: until it is over, tokens from there are rejected unchecked
_MAX_ADDRESSES = 1000


class SessionSigner:
    """Signs and checks session cookies and form tokens. Without a token, no sign-in is required."""

    def __init__(self, token: str | None) -> None:
        self.required = token is not None  # whether sign-in is required
        self._token = token
        key = secrets.token_bytes(32)
        if token is not None:
            # Some 50 ms and 16 MiB, so that a cookie is not a fast test of guesses. The salt is fixed, so that sessions
            # survive a restart with the same token.
            key = hashlib.scrypt(token.encode(), salt=b"threshold monitor session", n=2**14, r=8, p=1, dklen=32)
        self._sessions, self._forms = _signer(key, b"session"), _signer(key, b"form")
        # The sign-in page shows its form token to everybody. With a random key, guesses cannot be tested against it.
        self._public_forms = _signer(secrets.token_bytes(32), b"form")

    def check_token(self, guess: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self._token is not None and hmac.compare_digest(_digest(guess), _digest(self._token))

    def open_session(self, now_s: int) -> str:
        """The value of a cookie that is valid for `SESSION_S` from `now_s` on, seconds since 1970 UTC."""
        return self._sessions.sign(f"{now_s + SESSION_S}.{secrets.token_hex(8)}").decode()

    def session_valid(self, cookie: str, now_s: int) -> bool:
        """Whether this cookie was signed here and has not expired."""
        try:
            body = self._sessions.unsign(cookie).decode()
        except BadSignature:
            return False
        return now_s < int(body.partition(".")[0])

    def csrf_token(self, cookie: str) -> str:
        """The token that a form of this session must return; `cookie`: "" without a session."""
        return self._form_signer(cookie).get_signature(cookie).decode()

    def csrf_valid(self, guess: str, cookie: str) -> bool:
        """Whether a form of this session has returned its token, compared in constant time."""
        return self._form_signer(cookie).verify_signature(cookie, guess)

    def _form_signer(self, cookie: str) -> Signer:
        return self._forms if cookie else self._public_forms


class OneTimeCode:
    """The code of the sign-in link: valid once, for `CODE_S` from `now_s` on."""

    def __init__(self, now_s: float) -> None:
        self.text = secrets.token_urlsafe(24)
        self._digest = _digest(self.text)
        self._expires_s = now_s + CODE_S

    def redeem(self, guess: str, now_s: float) -> bool:
        """Whether this is the code and it is still valid, compared in constant time; True at most once."""
        valid = hmac.compare_digest(_digest(guess), self._digest) and now_s < self._expires_s
        if valid:
            self._expires_s = -math.inf
        return valid


class LoginThrottle:
    """Counts wrong tokens by `network_of` their address, for a bounded number of the latest addresses."""

    def __init__(self) -> None:
        self._failed: dict[str, list[float]] = {}

    def wait_s(self, address: str, now_s: float) -> float:
        """Time until the next try of this address, in seconds; 0: it may try now."""
        recent = self._recent(network_of(address), now_s)
        return FAILURE_WINDOW_S - (now_s - recent[0]) if len(recent) >= MAX_FAILURES else 0.0

    def add_failure(self, address: str, now_s: float) -> None:
        """Count a wrong token."""
        network = network_of(address)
        recent = [*self._recent(network, now_s), now_s][-MAX_FAILURES:]
        self._failed.pop(network, None)  # the latest address is last
        self._failed[network] = recent
        while len(self._failed) > _MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]

    def _recent(self, network: str, now_s: float) -> list[float]:
        return [at_s for at_s in self._failed.get(network, ()) if now_s - at_s < FAILURE_WINDOW_S]


def network_of(address: str) -> str:
    """The IPv4 address, or the IPv6 network of 64 bits: a host may use all addresses of its network."""
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
        InputError: it cannot be read, is not text, is too short, or is readable by other users.
    """
    token = secret_line(str(path), "--token-file").strip()
    if path.stat().st_mode & 0o077:
        raise InputError(f"{path}: other users may read the token; run  chmod go= {path}")
    if len(token) < MIN_TOKEN_LENGTH:
        raise InputError(
            f"{path}: the token in its first line has {len(token)} characters, at least {MIN_TOKEN_LENGTH} are needed; "
            f"run  openssl rand -hex 16 > {path}"
        )
    return token


def _signer(key: bytes, purpose: bytes) -> Signer:
    return Signer(key, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
