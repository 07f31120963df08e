"""Startup, readiness and liveness probes (documentation page "Liveness, Readiness, and Startup Probes")."""
