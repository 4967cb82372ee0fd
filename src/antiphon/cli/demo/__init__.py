"""`antiphon demo`: a walk through the gateway with the official client, no key and no network."""

from importlib.util import find_spec

import click

_NEEDED = ("openai", "rich")


def run() -> int:
    """Run the demonstration; 0 if all of it was as it should be, 1 if a check failed, 2 if packages are missing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        packages = " and ".join(missing)
        click.echo(f"antiphon: the demo needs {packages}: pip install 'antiphon[demo]'", err=True)
        return 2

    from antiphon.cli.demo.walk import walk

    return walk()
