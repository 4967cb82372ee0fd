"""Whether JSON keeps to a schema that a client wrote, by the `jsonschema-rs` library. Nothing is fetched for it."""

import json
from typing import Any, NoReturn

from antiphon.wire.errors import ClientFault

_LONGEST = 500


class SchemaCheck:
    """Checks answers against one schema."""

    def __init__(self, schema: Any, param: str) -> None:
        """Take a schema of any draft. Raises ClientFault for one that is none."""
        import jsonschema_rs  # loaded when the first schema has to be checked

        try:
            self._validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
        except ValueError as error:
            why = str(error).partition("\n")[0]
            raise ClientFault(
                f"'{param}' is not a JSON schema: {why[:_LONGEST]}", code="invalid_value", param=param
            ) from error

    def violation(self, text: str) -> str | None:
        """Say why `text` is not JSON of the schema, None if it is."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return f"It is not JSON: {error}"[:_LONGEST]
        found = next(self._validator.iter_errors(value), None)
        if found is None:
            return None
        place = "".join(f"[{step!r}]" for step in found.instance_path)
        return f"{place or 'The value'}: {found.message}"[:_LONGEST]


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not part of the schema")
