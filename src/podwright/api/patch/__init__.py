"""Patches of objects: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch. None changes its
input."""
