"""Where timeframes come from and how many are in flight: drivers of one and the same graph, chosen by the user."""
