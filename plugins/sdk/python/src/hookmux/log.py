"""Logging as hookmux reads it: a JSON object a line, on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from types import TracebackType

# hookmux cuts lines at 8 KiB, and a line that is cut is no JSON any more.
_MAX_LINE = 8000
_MAX_TEXT = 3000

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JSONFormatter(logging.Formatter):
    """Level, message and attributes; the latter from ``extra=`` of the log call."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "msg": _cut(record.getMessage()) or "(empty)",
        }
        if record.name not in ("root", "__main__", "hookmux"):
            fields["logger"] = record.name
        extra = {k: v for k, v in vars(record).items() if k not in _ORDINARY}
        fields.update((k if k not in fields else k + "_", v) for k, v in extra.items())
        if record.exc_info:
            fields["error"] = _cut(" ".join(str(record.exc_info[1]).split()) or type(record.exc_info[1]).__name__)
            fields["stack"] = stack(record.exc_info)
        line = _dump(fields)
        if len(line.encode(errors="replace")) > _MAX_LINE:
            for k in extra:
                fields.pop(k, None)
            fields["msg"] = _cut(str(fields["msg"]), 500)
            line = _dump(fields)
        return line


def stack(exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None]) -> str:
    """Where an exception came from, innermost last, short enough for a log line."""
    text = "".join(traceback.format_exception(*exc_info, limit=-12))
    return text if len(text) <= _MAX_TEXT else "…" + text[-_MAX_TEXT:]


def _cut(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _dump(fields: dict[str, object]) -> str:
    return json.dumps(fields, default=str, ensure_ascii=False)


def set_up() -> None:
    """Make the root logger write to hookmux, unless the program has set it up otherwise."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JSONFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
