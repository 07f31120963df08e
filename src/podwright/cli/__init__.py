"""The podwright command."""
