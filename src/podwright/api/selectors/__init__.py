"""Label selectors and field selectors: from text or objects to predicates."""
