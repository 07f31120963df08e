"""For other people's tests: an API server in the test's own process, and whole clusters that are gone afterwards.

The pytest plugin (:mod:`podwright.testing.plugin`) makes fixtures of both. Whoever wants another scope, or another
test runner, uses the context managers ``podwright.testing.api.api_server`` and ``podwright.testing.cluster.cluster``.
"""
