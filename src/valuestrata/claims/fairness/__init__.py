"""Claims that an audit supports: its tables in, claim records out."""

from valuestrata.claims.fairness.rules import audit_claims, audit_verdicts, metrics_worth_auditing
from valuestrata.claims.fairness.subject import RULES

__all__ = ["RULES", "audit_claims", "audit_verdicts", "metrics_worth_auditing"]
