"""Which upstream a request goes to. Decides, never asks."""
