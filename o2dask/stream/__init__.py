"""Timeframes that arrive live: sources, queues under lease, the spool on the node, and doors to foreign devices."""
