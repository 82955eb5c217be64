"""The whole main job in one command: generator events to `track.pt()`, with pictures of how well it went."""
