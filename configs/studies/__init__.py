"""Studies of released models, whole: a policy or remedy against another."""
