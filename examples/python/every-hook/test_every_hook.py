import pytest

import hookmux
from every_hook import EveryHook
from hookmux.testing import Harness


def test_it_prints_and_has_no_opinion(capsys: pytest.CaptureFixture[str]) -> None:
    client = hookmux.ClientInfo(clientid="c1", username="alice", password="secret")
    with Harness(EveryHook()) as plugin:
        assert len(plugin.hooks) == 20
        assert plugin.call(hookmux.ClientAuthenticateRequest(clientinfo=client)) == hookmux.no_opinion()
        plugin.call(hookmux.SessionCreatedRequest(clientinfo=client))
        message = hookmux.Message(topic="a/b", payload=b"123")
        assert plugin.call(hookmux.MessagePublishRequest(message=message)) == hookmux.pass_()
    printed = capsys.readouterr().out
    assert "client.authenticate c1 as 'alice'\n" in printed
    assert "SessionCreatedRequest c1\n" in printed
    assert "a/b 3 bytes\n" in printed
    assert "secret" not in printed
