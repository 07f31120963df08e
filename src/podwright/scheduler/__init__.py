"""The scheduler: which node a Pod runs on, and why."""
