"""What moxlib costs, measured beside its peers in the same run."""
