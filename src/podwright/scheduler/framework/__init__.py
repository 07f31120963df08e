"""The scheduling framework: upstream's extension points as small protocols, and what runs the plugins behind them."""
