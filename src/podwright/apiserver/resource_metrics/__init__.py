"""metrics.k8s.io, served by the API server itself: what ``kubectl top`` and the HorizontalPodAutoscaler read."""
