from __future__ import annotations

import base64
import datetime

import pytest

from podwright.cluster.tokens import BadToken, time_to_live, token_of, token_secret

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("90s", 90), ("0", 0)])
def test_time_to_live(text, seconds):
    assert time_to_live(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "-1h", "1d", "99999999999999h"])
def test_time_to_live_refused(text):
    with pytest.raises(BadToken):
        time_to_live(text)


def test_the_secret_is_kubeadms():
    secret = token_secret("abcdef.0123456789abcdef", datetime.timedelta(hours=24), NOW)
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert secret["type"] == "bootstrap.kubernetes.io/token"
    assert base64.b64decode(secret["data"]["expiration"]) == b"2030-01-02T00:00:00Z"
    token = token_of(secret)
    assert (token.token, token.usages) == ("abcdef.0123456789abcdef", ("authentication", "signing"))


def test_no_end_without_a_time_to_live():
    assert "expiration" not in token_secret("abcdef.0123456789abcdef", datetime.timedelta(), NOW)["data"]


def test_an_end_past_the_calendar_is_refused():
    with pytest.raises(BadToken):
        token_secret("abcdef.0123456789abcdef", datetime.timedelta(days=10_000_000), NOW)
