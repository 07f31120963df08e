"""Server-side apply: ownership of fields, merging, conflicts."""

from podwright.api.apply.ownership import apply_patch, reset_fields, track_update, undeclared

__all__ = ["apply_patch", "reset_fields", "track_update", "undeclared"]
