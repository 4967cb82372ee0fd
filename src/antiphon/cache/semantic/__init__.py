"""The semantic level decides here: what two texts must agree in, and how alike is alike enough."""
