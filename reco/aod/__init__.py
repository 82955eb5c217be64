"""From reconstructed objects to the AOD tables: the last step of the asynchronous phase."""
