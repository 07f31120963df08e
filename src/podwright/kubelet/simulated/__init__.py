"""Nodes without containers, for scale tests and the study of scheduling: Node objects whose Pods are said to run.
Nothing here starts anything; every object says that it is simulated."""
