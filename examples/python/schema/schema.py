"""Checks JSON payloads against JSON Schemas, and fills in the schemas' defaults."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

import hookmux

log = logging.getLogger(__name__)


@dataclass
class Config:
    schemas: dict[str, Path]
    """Topic filter to the file of a JSON Schema."""
    quarantine: str = ""
    """Where messages go that do not fit: this, a slash and their topic. Without it they are dropped."""


def with_defaults(base: Any) -> Any:
    """A validator that puts in what is missing and has a default."""

    def properties(validator: Any, of: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(instance, "object"):
            for name, sub in of.items():
                if isinstance(sub, dict) and "default" in sub:
                    instance.setdefault(name, sub["default"])
        yield from base.VALIDATORS["properties"](validator, of, instance, schema)

    return validators.extend(base, {"properties": properties})  # type: ignore[no-untyped-call]


class Schema(hookmux.Plugin):
    config: Config

    def on_start(self) -> None:
        validator = with_defaults(Draft202012Validator)
        self.validators = {}
        for topic_filter, file in self.config.schemas.items():
            schema = json.loads((Path(__file__).parent / file).read_text())
            validator.check_schema(schema)
            self.validators[topic_filter] = validator(schema)
        self.topics = {"message.publish": list(self.config.schemas)}

    def on_message_publish(self, request: hookmux.MessagePublishRequest) -> hookmux.Answer:
        message = request.message
        for topic_filter, validator in self.validators.items():
            if not hookmux.covers(topic_filter, message.topic):
                continue
            try:
                payload = json.loads(message.payload)
                before = json.dumps(payload)
                validator.validate(payload)
            except (ValueError, ValidationError) as err:
                return self.refuse(message, err)
            if (after := json.dumps(payload)) != before:
                message.payload = after.encode()
                return hookmux.rewrite(message)
        return hookmux.pass_()

    def refuse(self, message: hookmux.Message, err: ValueError | ValidationError) -> hookmux.Answer:
        why = err.message if isinstance(err, ValidationError) else f"no JSON: {err}"
        log.warning("payload refused", extra={"topic": message.topic, "why": why[:200]})
        if not self.config.quarantine:
            return hookmux.drop(final=True)
        message.topic = f"{self.config.quarantine}/{message.topic}"
        return hookmux.rewrite(message, final=True)


if __name__ == "__main__":
    hookmux.serve(Schema())
