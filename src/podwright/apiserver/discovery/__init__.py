"""/api, /apis and their group versions, from the resource table; unaggregated and aggregated (KEP-3352)."""
