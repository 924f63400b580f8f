"""The command that estimates subgroups from a sample and models."""
