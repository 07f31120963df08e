"""Assembly: configuration, PKI, processes, up, down, join. The only part that knows all others."""
