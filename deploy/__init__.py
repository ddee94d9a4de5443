"""Everything about running Tidemark somewhere: the local stack, images, alerts, runbooks."""
