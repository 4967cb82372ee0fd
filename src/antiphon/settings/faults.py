"""The one way in which a configuration is refused."""


class ConfigurationError(Exception):
    """The configuration cannot be used; the text says where, what and how to mend it, for a person to read."""

    def __init__(self, message: str) -> None:
        """Carry `message` exactly as the user sees it."""
        super().__init__(message)
        self.message = message
