"""What is in infra/: checked as far as that goes without a cluster and a container engine."""
