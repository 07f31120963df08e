"""The default plugins, one class a file."""
