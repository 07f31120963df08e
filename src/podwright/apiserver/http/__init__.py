"""HTTP/1.1 over TLS: connections, limits, raw responses, watch streams."""
