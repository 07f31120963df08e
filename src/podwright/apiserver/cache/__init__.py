"""The watch cache: every stored object's JSON bytes in memory, and what happened to them lately."""
