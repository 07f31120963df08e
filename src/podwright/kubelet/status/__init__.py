"""How a Pod is: its status as a function of its spec and of what the runtime has, and telling it to the API."""
