"""SPDY/3.1 as far as Kubernetes streams use it: the serving side, streams with headers, no flow control (clients of
Kubernetes neither send window updates nor wait for them)."""
