"""The Kubernetes API as data and pure functions: no I/O, no asyncio, no clock.

API objects are plain JSON dicts (:data:`podwright.api.objects.Object`). They are never changed once read from a
cache or a store: copy, then change. What is known of a kind stands in the schema (:mod:`podwright.api.schema`) and
in its row of the resource table (:mod:`podwright.api.resources`).
"""
