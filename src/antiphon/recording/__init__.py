"""Recordings: what an upstream answered, frame by frame, with times; their stored form, pace and cassettes."""

from antiphon.recording.recording import Head, Mode, Outcome, Recording, State

__all__ = ["Head", "Mode", "Outcome", "Recording", "State"]
