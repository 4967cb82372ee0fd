"""Vectors compared in this process, whatever database they are kept in. Needs NumPy."""
