"""Small interfaces that the drivers implement."""
