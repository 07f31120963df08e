"""A web page that shows a cluster as it is now: nodes, Pods and events, by watch. It only reads."""
