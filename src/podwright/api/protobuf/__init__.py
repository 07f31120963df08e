"""Kubernetes' protobuf form of API objects, ``application/vnd.kubernetes.protobuf``: plain dicts to bytes and back.

Names, numbers and types of fields stand in ``fields.json``, which ``scripts/protobuf_fields.py`` reads off the public
sources: message → [number, JSON name, kind, flags]. Kinds: s string, b bool, i integer, y bytes, d double, f float,
m and a name a message, M and a kind a map from strings. Flags: r repeated, n inline in JSON, p pointer (a zero value
means something), k a zero value is kept in JSON, z an empty message is left out, L the JSON of the message is the
list in its only field.

``plugin_fields.json`` has, in the same form, what a kubelet and its plugins say to each other over their sockets:
``csi.v1`` (csi.proto of the Container Storage Interface), ``pluginregistration`` (KEP-595), ``v1beta1`` (device
plugins) and ``v1`` (KEP-606, the pod resources API). ``cri_fields.json`` has ``runtime.v1``, the Container Runtime
Interface, as ``scripts/cri_fields.py`` reads it. Enumerations are integers.
"""
