"""House checks. Each module has check(root) -> list of findings, one sentence each: "path:line: what, and what to do"."""
