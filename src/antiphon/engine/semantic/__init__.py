"""The semantic level of the cache: a request whose meaning was asked before, in other words."""
