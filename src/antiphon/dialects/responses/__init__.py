"""The Responses API, whose items and events are the hub."""
