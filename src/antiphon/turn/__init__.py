"""The hub: the items, parts and usage of a turn, in the terms of the Responses API."""
