"""The aggregation layer: group versions served by other API servers, by APIService objects (Kubernetes documentation,
"Kubernetes API Aggregation Layer")."""
