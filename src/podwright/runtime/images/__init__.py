"""Images: references, archives, layers unpacked once for the whole machine, pulls."""
