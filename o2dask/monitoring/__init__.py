"""What is told about a run while it runs: small records that know no runner and no file."""
