"""Studies, whole: a policy or remedy against another."""
