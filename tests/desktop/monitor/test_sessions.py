"""Sessions, form tokens, the token file, and the delay after wrong tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.monitor_client import TOKEN
from threshold_tools.monitor.sessions import CODE_S, MAX_FAILURES, LoginThrottle, OneTimeCode, SessionSigner, read_token

from edge.core.errors import InputError


def test_a_forged_or_expired_session_is_none() -> None:
    """Signed by another key, altered, or too old."""
    keys = SessionSigner(TOKEN)
    cookie = keys.open_session(1000)
    assert keys.session_valid(cookie, 1000 + 3600)
    assert not keys.session_valid(cookie, 1000 + 13 * 3600)
    assert not keys.session_valid("9" + cookie, 1000)
    assert not SessionSigner(TOKEN + "2").session_valid(cookie, 1000)
    assert not keys.session_valid("", 1000)


def test_sign_in_form_no_test_of_guesses() -> None:
    """What its form brings back differs from process to process, so it says nothing about the token."""
    assert SessionSigner(TOKEN).csrf_token("") != SessionSigner(TOKEN).csrf_token("")
    assert (
        SessionSigner(TOKEN).csrf_token("a")
        == SessionSigner(TOKEN).csrf_token("a")
        != SessionSigner(TOKEN).csrf_token("b")
    )


def test_form_of_a_session_refused_without_it() -> None:
    """The sign-in page's token is no token of a session, nor the other way round."""
    keys = SessionSigner(TOKEN)
    cookie = keys.open_session(1000)
    assert keys.csrf_valid(keys.csrf_token(cookie), cookie)
    assert not keys.csrf_valid(keys.csrf_token(""), cookie)
    assert not keys.csrf_valid(keys.csrf_token(cookie), "")


def test_code_of_the_link_valid_once_and_for_ten_minutes() -> None:
    code, late = OneTimeCode(1000.0), OneTimeCode(1000.0)
    assert not code.redeem(code.text + "x", 1000.0)
    assert code.redeem(code.text, 1000.0 + CODE_S - 1)
    assert not code.redeem(code.text, 1000.0 + CODE_S - 1)
    assert not late.redeem(late.text, 1000.0 + CODE_S)


def test_wrong_tokens_from_one_ipv6_network() -> None:
    """A host has 2^64 IPv6 addresses to itself; they count as one."""
    attempts = LoginThrottle()
    for i in range(MAX_FAILURES):
        attempts.add_failure(f"2001:db8::{i}", 0.0)
    assert attempts.wait_s("2001:db8::ffff", 1.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 1.0) == 0
    assert attempts.wait_s("192.0.2.1", 1.0) == 0


def test_a_weak_or_public_token_file_is_refused(tmp_path: Path) -> None:
    """Too short, or readable by others."""
    path = tmp_path / "token"
    for content, mode, told in (("short\n", 0o600, "at least 16 are needed"), (TOKEN, 0o644, "other users may read")):
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(InputError, match=told):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN
