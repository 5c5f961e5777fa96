"""Memory for agents: environments that ask for one, and training in them. Needs the extra `rl`."""
