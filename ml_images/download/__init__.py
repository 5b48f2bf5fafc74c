"""One URL to verified bytes or a named outcome: fetching, retry policy, address safety."""
