"""How good are videos? Metrics and their intervals, judges, and the tables that `lfdm evaluate` prints."""
