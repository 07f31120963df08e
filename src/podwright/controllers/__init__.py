"""The controllers: each drives one kind of object towards its spec, and they meet only through the API.

:class:`podwright.controllers.manager.ControllerManager` runs them; :mod:`podwright.controllers.frame` is what they
share.
"""
