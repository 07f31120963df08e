"""The generic REST storage: verbs over the store and the watch cache, with what differs between kinds in strategies."""
