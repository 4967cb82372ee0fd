"""Which form of errors a path's clients expect, where no dialect has been asked yet."""

from antiphon.wire.error_forms import ANTHROPIC_ERRORS, OPENAI_ERRORS, ErrorForm

_MESSAGES = b"/v1/messages"


def error_form(path: bytes) -> ErrorForm:
    """Return the form of errors below `path`, which may have a query."""
    is_messages = path.startswith(_MESSAGES) and path[len(_MESSAGES) :][:1] in (b"", b"/", b"?")
    return ANTHROPIC_ERRORS if is_messages else OPENAI_ERRORS
