"""Random tests of this floor have no time limit for a single example: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("api", deadline=None)
settings.load_profile("api")
