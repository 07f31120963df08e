"""From what a Pod should be and what the runtime has of it to what is to be done, and doing it."""
