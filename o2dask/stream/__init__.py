"""Timeframes that arrive while the workflow runs: readout, spool, queues under lease, event building, feed.

The spool on the node is the durable truth, the queue a notification under lease; the effect is exactly once because
producers number their announcements and the commit of a sink is idempotent. Above `ctf`, below `runners`.
"""
