"""What may be said of records: rules, statistics, quantities, stability."""
