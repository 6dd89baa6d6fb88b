"""A plugin's process, as hookmux sees it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import hookmux
from hookmux._proto import exhook_pb2 as exhook
from host import KITCHEN, SRC, Host, environment

Start = Callable[..., Host]


def auth(username: str) -> hookmux.ClientAuthenticateRequest:
    return hookmux.ClientAuthenticateRequest(clientinfo=hookmux.ClientInfo(clientid="c", username=username))


def publish(topic: str = "t", payload: bytes = b"x") -> hookmux.MessagePublishRequest:
    return hookmux.MessagePublishRequest(message=hookmux.Message(topic=topic, payload=payload, qos=1))


class Protocol:
    """Asks by either app protocol."""

    def __init__(self, host: Host, version: int) -> None:
        self.host = host
        self.decide = host.stream("Decide") if version == 2 else None

    def ask(self, request: Any, timeout: float = 20) -> exhook.ValuedResponse:
        if not self.decide:
            return self.host.call(request, timeout)  # type: ignore[no-any-return]
        reply = self.decide.ask(request, timeout=timeout)
        if reply.error:
            raise LookupError(reply.error)
        return exhook.ValuedResponse.FromString(reply.answer)

    def error(self, request: Any, timeout: float = 20) -> str:
        with pytest.raises((LookupError, grpc.RpcError)) as got:
            self.ask(request, timeout)
        return str(got.value.details()) if isinstance(got.value, grpc.RpcError) else str(got.value)


@pytest.fixture(params=[1, 2], ids=["unary", "streams"])
def either(request: pytest.FixtureRequest, start: Start) -> Protocol:
    return Protocol(start("1" if request.param == 1 else "1,2"), request.param)


def test_handshake_and_health(start: Start) -> None:
    for versions, want in (("1,3", 1), ("2,1", 2)):
        h = start(versions)
        assert h.handshake.startswith(f"1|{want}|unix|/")
        assert h.handshake.endswith("|grpc")
        assert h.raw("grpc.health.v1.Health/Check", b"\x0a\x06plugin") == b"\x08\x01"
        h.close()


def test_answers(either: Protocol) -> None:
    v = exhook.ValuedResponse
    assert either.ask(auth("allow")) == v(type=v.CONTINUE, bool_result=True)
    assert either.ask(auth("final")) == v(type=v.STOP_AND_RETURN, bool_result=False)
    assert either.ask(auth("")) == v(type=v.IGNORE)
    assert either.ask(publish()).message.payload == b"x!"
    assert either.ask(publish("drop")).message.headers["allow_publish"] == "false"
    assert either.ask(hookmux.ClientAuthorizeRequest(topic="0")) == v(type=v.CONTINUE, bool_result=True)


def test_unknown_fields_and_big_payloads(either: Protocol) -> None:
    big = publish(payload=b"p" * (16 << 20))
    newer = b"\xfa\x3e\x05newer"  # field 1007
    big.message.MergeFromString(newer)
    got = either.ask(big).message
    assert got.payload == b"p" * (16 << 20) + b"!"
    assert newer in got.SerializeToString()


def test_an_exception_is_that_calls_error(either: Protocol) -> None:
    assert either.error(auth("raise")) == "ValueError: no such database"
    line = json.loads(either.host.until("no such"))
    assert line["level"] == "ERROR"
    assert line["method"] == "on_client_authenticate"
    assert "kitchen.py" in line["stack"]
    assert "SystemExit" in either.error(auth("exit"))
    assert "canceled" in either.error(hookmux.ClientAuthorizeRequest(topic="cancels itself"))
    assert "returned None: return hookmux.allow()" in either.error(auth("none"))
    assert either.ask(auth("allow")).bool_result


def test_what_it_needs_is_away(start: Start) -> None:
    authorize = hookmux.ClientAuthorizeRequest(topic="unavailable")  # an async method
    delivered = hookmux.MessageDeliveredRequest(message=hookmux.Message(topic="unavailable"))
    h = start("1")
    for request, code, text in (
        (auth("unavailable"), grpc.StatusCode.UNAVAILABLE, "on_client_authenticate: no database: refused"),
        (authorize, grpc.StatusCode.UNAVAILABLE, "on_client_authorize: no database"),
        (delivered, grpc.StatusCode.UNAVAILABLE, "on_message_delivered: no database"),
        (auth("backend"), grpc.StatusCode.UNKNOWN, "ConnectionError: down"),
    ):
        with pytest.raises(grpc.RpcError) as got:
            h.call(request)
        assert (got.value.code(), got.value.details()) == (code, text)
    assert "down" in h.until("exception in the plugin")
    assert "no database" not in "".join(h.log), "an outage is not logged with stacks"

    h = start()
    decide, notify = h.stream("Decide"), h.stream("Notify")
    for stream, request, text, unavailable in (
        (decide, auth("unavailable"), "on_client_authenticate: no database: refused", True),
        (decide, authorize, "on_client_authorize: no database", True),
        (notify, delivered, "on_message_delivered: no database", True),
        (notify, authorize, "on_client_authorize: no database", True),
        (decide, auth("backend"), "ConnectionError: down", False),
    ):
        reply = stream.ask(request)
        assert (reply.error, reply.unavailable) == (text, unavailable)


def test_no_event_id(either: Protocol) -> None:
    assert either.error(auth("event id")).endswith("''")


def test_time(either: Protocol) -> None:
    # Of app protocol 1 gRPC carries the time, which it rounds up, by a tenth of a second here.
    assert 18 < float(either.error(auth("remaining"), 20).split()[-1]) < 20.5
    with pytest.raises((LookupError, grpc.RpcError)):
        either.ask(hookmux.ClientAuthorizeRequest(topic="30"), 0.1)
    with contextlib.suppress(grpc.RpcError):  # the answer comes late, or just in time
        either.ask(auth("until canceled"), 0.1)
    either.host.until("was canceled")
    either.host.until("sleep was canceled")


def test_decisions_run_beside_each_other(start: Start) -> None:
    h = start()
    decide = h.stream("Decide")
    ids = decide.send(*[auth("barrier")] * 8)
    assert all(decide.reply(i).answer for i in ids)


def test_cancel(start: Start) -> None:
    h = start()
    decide = h.stream("Decide")
    (plain,) = decide.send(auth("until canceled"), timeout=0)
    (awaits,) = decide.send(hookmux.ClientAuthorizeRequest(topic="1000"), timeout=0)
    assert decide.ask(auth("allow")).answer
    decide.send(canceled=(plain, awaits, 12345))
    assert decide.reply(plain).answer
    assert decide.reply(awaits).error == "canceled"
    h.shutdown()
    assert "ERROR" not in h.stop()[1]


def test_loaded(start: Start) -> None:
    h = start(config={"topics": {"message.publish": ["a/+", "b/#"]}})
    reply = h.stream("Decide").ask(hookmux.ProviderLoadedRequest())
    hooks = {s.name: list(s.topics) for s in exhook.LoadedResponse.FromString(reply.answer).hooks}
    assert hooks == {
        "client.authenticate": [],
        "client.authorize": [],
        "client.disconnected": [],
        "message.acked": [],
        "message.delivered": [],
        "message.publish": ["a/+", "b/#"],
        "session.created": [],
    }


def test_notifications_keep_the_order_of_a_client(start: Start) -> None:
    h = start()
    notify = h.stream("Notify")
    clients, each = 20, 40
    ids = []
    for n in range(each):
        kind = hookmux.MessageAckedRequest if n % 8 == 3 else hookmux.MessageDeliveredRequest
        for c in range(clients):
            request = kind(
                clientinfo=hookmux.ClientInfo(clientid=str(c)),
                message=hookmux.Message(id=str(n), topic="slow" if c % 3 == 0 else "t"),
            )
            ids += notify.send(request, key=str(c))
    for i in ids:
        assert not notify.reply(i).error
    h.stream("Decide").ask(hookmux.ClientDisconnectedRequest())
    seen = [s.split("/") for s in h.until("seen ").split()[1:]]
    for c in range(clients):
        assert [int(n) for client, n in seen if client == str(c)] == list(range(each))


def test_a_notification_that_hangs_holds_up_its_group_only(start: Start) -> None:
    h = start()
    notify = h.stream("Notify")
    delivered = hookmux.MessageDeliveredRequest
    notify.send(delivered(message=hookmux.Message(topic="hang")), key="hung", timeout=0)
    # More than a batch, to as many keys that some fall into the group of the one that hangs.
    ids = [notify.send(delivered(), key=str(n))[0] for n in range(200)]
    assert all(r.id in ids for r in itertools.islice(notify.replies(), 150))
    assert h.stream("Decide").ask(auth("allow")).answer


def test_stdout_is_no_danger(either: Protocol) -> None:
    assert either.ask(auth("noise")).type == exhook.ValuedResponse.IGNORE
    for text in ("x" * 200_000, "from the descriptor", "from C", "from a child", "printed in on_start"):
        either.host.until(text)
    either.host.shutdown()
    assert either.host.stop()[0] == 0
    assert either.host.process.stdout
    assert either.host.process.stdout.read() == ""


def test_log_lines(start: Start) -> None:
    h = start()
    h.stream("Decide").ask(hookmux.SessionCreatedRequest(clientinfo=hookmux.ClientInfo(clientid="c1")))
    line = json.loads(h.until('"session"'))
    assert (line["level"], line["msg"], line["client"], line["number"]) == ("INFO", "session", "c1", 7)


def test_what_no_plugin_understands(start: Start) -> None:
    h = start()
    decide = h.stream("Decide")
    decide.raw(b"\x0a\x07\x08\x63\x10\xe7\x07\x18\x01")  # event 99 of hook 999
    assert decide.reply(99).error == "hook 999 is not known to this plugin"
    decide.raw(b"\x0a\x0b\x08\x64\x10\x07\x2a\x05\xff\xff\xff\xff\xff")  # event 100, whose request is no message
    assert "does not decode" in decide.reply(100).error
    decide.raw(b"\xff\xff garbage")
    with pytest.raises(grpc.RpcError):
        list(decide.replies())
    assert decide.status() is grpc.StatusCode.INVALID_ARGUMENT
    assert h.stream("Decide").ask(auth("allow")).answer


def test_half_close(start: Start) -> None:
    h = start()
    decide = h.stream("Decide")
    ids = decide.send(*[hookmux.ClientAuthorizeRequest(topic="0.05")] * 3)
    decide.half_close()
    assert sorted(r.id for r in decide.replies()) == ids
    assert decide.status() is grpc.StatusCode.OK


@pytest.mark.parametrize("how", [Host.shutdown, Host.terminate])
def test_the_end(start: Start, how: Callable[[Host], None]) -> None:
    h = start(config={"note": "noted"})
    decide, notify = h.stream("Decide"), h.stream("Notify")
    assert decide.ask(auth("allow")).answer
    (slow,) = decide.send(hookmux.ClientAuthorizeRequest(topic="0.3"))
    decide.send(auth("hang"), timeout=0)
    assert decide.ask(auth("allow")).answer
    how(h)
    assert decide.reply(slow).answer
    assert list(decide.replies()) == list(notify.replies()) == []
    assert decide.status() is notify.status() is grpc.StatusCode.OK
    code, log = h.stop()
    assert code == 0
    assert "printed in on_stop noted" in log


PARENT = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"


def test_it_ends_with_its_parent(socket_dir: str) -> None:
    r, w = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, KITCHEN],
        env=environment(socket_dir, "1,2", {}),
        stdout=w,
        stderr=subprocess.DEVNULL,
    )
    os.close(w)
    with os.fdopen(r) as stdout:
        assert stdout.readline().startswith("1|2|")
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert stdout.read() == ""  # the plugin's end has closed it


@pytest.mark.parametrize(
    ("program", "config", "says"),
    [
        ("class P(hookmux.Plugin): pass", "{}", "P has no hook"),
        ("class P(hookmux.Plugin):\n def on_conect(self, r): pass", "{}", "did you mean 'on_client_connect'"),
        ("class P(K):\n config: C", '{"usres": 1}', 'unknown key "usres" (did you mean "users"?); allowed: users'),
        ("class P(K):\n config: C", '{"users": "a"}', 'key "users" must be an integer, not the string "a"'),
        ("class P(K):\n def on_start(self): raise OSError('no disk')", "{}", "OSError: no disk"),
        ("class P(K):\n topics = {'message.publish': ['a']}", "{}", "has no method on_message_publish"),
    ],
)
def test_what_ends_a_start(program: str, config: str, says: str) -> None:
    code = f"""
import hookmux, dataclasses
@dataclasses.dataclass
class C:
    users: int = 1
class K(hookmux.Plugin):
    def on_client_connect(self, r): pass
{program}
hookmux.serve(P())"""
    env = environment("/nowhere", "1,2", {}) | {"HOOKMUX_CONFIG": config}
    got = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert got.returncode == 1
    assert says.replace('"users"?', "'users'?") in got.stderr
    assert got.stdout == ""


def test_by_hand() -> None:
    for args, code in (([], 2), (["--help"], 0)):
        got = subprocess.run(
            [sys.executable, KITCHEN, *args],
            env={"PYTHONPATH": SRC},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert got.returncode == code
        assert "kitchen.py is a plugin of hookmux" in got.stderr
        assert "  client.authenticate\n" in got.stderr
        assert "providers:\n  - name: kitchen\n" in got.stderr


def test_the_plugin_in_the_readme(tmp_path: Path) -> None:
    readme = (Path(SRC).parent / "README.md").read_text()
    program = tmp_path / "minimal.py"
    program.write_text(readme.split("```python\n", 1)[1].split("```", 1)[0])
    got = subprocess.run(
        [sys.executable, program], env={"PYTHONPATH": SRC}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "minimal.py is a plugin of hookmux" in got.stderr
    assert "It answers:\n  client.authorize\n" in got.stderr
