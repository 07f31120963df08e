"""The node itself: what the machine has, and telling the API that it is there and well."""
