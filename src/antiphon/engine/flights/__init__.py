"""Equal requests in flight in other processes: one asks the upstream, and the others follow what it records."""
