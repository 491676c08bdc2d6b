"""Where units run on a cluster."""
