"""serve: what a plugin's program calls."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import typing
from pathlib import Path

from . import config, log
from .hooks import Hook, Plugin, PluginError, declared, overridden
from .server import COOKIE, Server, StopError


def serve(plugin: Plugin) -> typing.NoReturn:
    """Run a plugin until it is told to stop, and then end the process; it does not return.

    Started by hand, the program says what it is instead. Exit status: 0 after having
    been told to stop, by hookmux, by SIGTERM or by the end of the parent process; 1 if
    the plugin or its config is wrong, or on_start or on_stop has raised; 2 if it
    was started in a wrong way.
    """
    code = _run(plugin)
    # Threads of hooks that hang, and what libraries do at exit, get this much time.
    last = threading.Timer(1.0, os._exit, (code,))
    last.daemon = True
    last.start()
    sys.exit(code)


def _run(plugin: Plugin) -> int:
    hosted = os.environ.get(COOKIE[0]) == COOKIE[1]
    if hosted:
        handshake = _leave_stdout()
        log.set_up()
    try:
        hooks = overridden(plugin)
        if not hosted:
            print(_usage(plugin, hooks), file=sys.stderr)
            return 0 if {"-h", "--help"} & set(sys.argv[1:]) else 2
        read_config(plugin, os.environ.get("HOOKMUX_CONFIG") or "{}")
        server_run = Server(plugin, hooks, handshake).run
    except (PluginError, config.ConfigError) as err:
        return _fail(err)
    try:
        asyncio.run(server_run())
    except (PluginError, config.ConfigError, StopError) as err:
        return _fail(err)
    except Exception as err:
        logging.getLogger("hookmux").exception("the plugin did not start")
        return _fail(f"{type(err).__name__}: {err}")
    return 0


def read_config(plugin: Plugin, text: str) -> None:
    """Fill the attribute ``config`` by its annotation."""
    hints = typing.get_type_hints(type(plugin))
    value = config.load(hints.get("config"), text)
    if value is not None:
        plugin.config = value  # type: ignore[attr-defined]


def _fail(why: object) -> int:
    print(f"{_name()}: {why}", file=sys.stderr)
    return 1


def _name() -> str:
    return os.environ.get("HOOKMUX_NAME") or _program().name


def _program() -> Path:
    return Path(sys.argv[0] or "plugin.py")


def _leave_stdout() -> int:
    """Point stdout, which is hookmux's handshake, at stderr, and hand back what was there.

    It is done to the file descriptor, so that it holds for C extensions and child
    processes too.
    """
    handshake = os.dup(1)
    os.dup2(2, 1)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    return handshake


def _usage(plugin: Plugin, hooks: list[Hook]) -> str:
    program = _program()
    answers = "\n".join(
        f"  {h.name}" + (f"  (topics {', '.join(h.topics)})" if h.topics else "") for h in declared(plugin, hooks).hooks
    )
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in program.stem.lower())
    return f"""{program.name} is a plugin of hookmux, a sidecar for the MQTT broker EMQX.
It answers:
{answers}

hookmux starts it, by these lines in hookmux.yaml:

providers:
  - name: {name}
    command: [{sys.executable}, {program.absolute()}]
    config: {{}}
"""
