"""Sessions, form tokens, the token file, and the delay after wrong tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.monitor_client import TOKEN
from threshold_tools.monitor.sessions import CODE_S, MAX_FAILURES, LoginThrottle, OneTimeCode, SessionSigner, read_token

from edge.core.errors import InputError


def test_forged_or_expired_session_rejected() -> None:
    """Signed by another key, altered, or too old."""
    signer = SessionSigner(TOKEN)
    cookie = signer.open_session(1000)
    assert signer.session_valid(cookie, 1000 + 3600)
    assert not signer.session_valid(cookie, 1000 + 13 * 3600)
    assert not signer.session_valid("9" + cookie, 1000)
    assert not SessionSigner(TOKEN + "2").session_valid(cookie, 1000)
    assert not signer.session_valid("", 1000)


def test_sign_in_form_independent_of_the_token() -> None:
    """Its form token differs from process to process, so guesses of the token cannot be tested against it."""
    assert SessionSigner(TOKEN).csrf_token("") != SessionSigner(TOKEN).csrf_token("")
    assert (
        SessionSigner(TOKEN).csrf_token("a")
        == SessionSigner(TOKEN).csrf_token("a")
        != SessionSigner(TOKEN).csrf_token("b")
    )


def test_form_tokens_of_sessions_and_sign_in_differ() -> None:
    """The form token of a session is invalid without the session, and that of the sign-in page within one."""
    signer = SessionSigner(TOKEN)
    cookie = signer.open_session(1000)
    assert signer.csrf_valid(signer.csrf_token(cookie), cookie)
    assert not signer.csrf_valid(signer.csrf_token(""), cookie)
    assert not signer.csrf_valid(signer.csrf_token(cookie), "")


def test_code_of_the_link_valid_once_and_for_ten_minutes() -> None:
    code, late = OneTimeCode(1000.0), OneTimeCode(1000.0)
    assert not code.redeem(code.text + "x", 1000.0)
    assert code.redeem(code.text, 1000.0 + CODE_S - 1)
    assert not code.redeem(code.text, 1000.0 + CODE_S - 1)
    assert not late.redeem(late.text, 1000.0 + CODE_S)


def test_wrong_tokens_counted_by_ipv6_network() -> None:
    """A host may use 2^64 IPv6 addresses; they count as one."""
    attempts = LoginThrottle()
    for i in range(MAX_FAILURES):
        attempts.add_failure(f"2001:db8::{i}", 0.0)
    assert attempts.wait_s("2001:db8::ffff", 1.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 1.0) == 0
    assert attempts.wait_s("192.0.2.1", 1.0) == 0


def test_weak_or_public_token_file_refused(tmp_path: Path) -> None:
    """Too short, or readable by others."""
    path = tmp_path / "token"
    for content, mode, error in (("short\n", 0o600, "at least 16 are needed"), (TOKEN, 0o644, "other users may read")):
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(InputError, match=error):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN
