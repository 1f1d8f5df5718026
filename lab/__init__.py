"""Two real Slurm clusters, each behind its own sshd, and a CycleCloud server, on one machine without root."""
