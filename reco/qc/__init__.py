"""Quality of what was reconstructed, against simulated truth where there is one."""
