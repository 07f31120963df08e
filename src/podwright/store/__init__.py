"""The cluster store: one small protocol (:mod:`podwright.store.protocol`) and one file a backend."""
