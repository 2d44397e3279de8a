"""The reduce of the census: from one record per file to what is worth knowing about the whole."""

import hashlib
from collections import Counter
from os.path import relpath

import duplicates


def findings(files, families, root):
    """Everything the report shows, as plain lists; equal for every run over the same files."""
    functions = [(file.name, function) for file in files for function in file.functions]
    words = Counter()
    for file in files:
        words.update(file.identifiers)
    parts = Counter()
    for file in files:
        parts[part(relpath(file.name, root))] += file.lines
    functions.sort(key=lambda entry: (-entry[1].complexity, entry[0], entry[1].line))
    return {
        "totals": totals(files, functions, words, families),
        "complexity": distribution(functions),
        "complex": [(place(name, f, root), f.complexity) for name, f in functions[:25]],
        "identifiers": sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:25],
        "parts": sorted(parts.items(), key=lambda entry: (-entry[1], entry[0]))[:15],
        "families": [family_row(members, weakest, root) for members, weakest in families[:25]],
        "unread": [(relpath(file.name, root), file.error) for file in files if file.error],
    }


def totals(files, functions, words, families):
    lengths = sorted(function.end - function.line + 1 for _, function in functions)
    return [
        ("files", len(files)),
        ("bytes", sum(file.size for file in files)),
        ("lines", sum(file.lines for file in files)),
        ("comments", sum(file.comments for file in files)),
        ("tokens", sum(file.tokens for file in files)),
        ("classes", sum(file.classes for file in files)),
        ("functions", len(functions)),
        ("lines in the median function", lengths[len(lengths) // 2] if lengths else 0),
        ("different identifiers", len(words)),
        ("families of near-duplicates", len(families)),
        ("tokens they could save", sum(duplicates.redundant(members) for members, _ in families)),
        ("files that do not parse", sum(bool(file.error) for file in files)),
    ]


def distribution(functions):
    """How many functions there are of each class of complexity."""
    edges = [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, None)]
    counts = []
    for low, high in edges:
        label = str(low) if low == high else f"{low}–{high}" if high else f"{low} and more"
        counts.append(
            (label, sum(low <= f.complexity and (high is None or f.complexity <= high) for _, f in functions))
        )
    return counts


def part(name):
    """The part of the library that a file belongs to: its first folder, and the top level for single modules."""
    return name.split("/", 1)[0] + "/" if "/" in name else "single modules"


def place(name, function, root):
    return f"{function.name}\n{relpath(name, root)}:{function.line}"


def family_row(members, weakest, root):
    name, function = members[0]
    sources = sorted({relpath(path, root) for path, _ in members})
    where = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    return (function.name, len(members), duplicates.redundant(members), f"{weakest:.0%}", where)


def digest(files, families):
    """A short name for the whole result; runs that found the same have the same."""
    content = hashlib.blake2b(digest_size=8)
    for file in files:
        content.update(repr(file).encode("utf-8", "surrogatepass"))
    for members, weakest in families:
        content.update(repr((members, weakest)).encode("utf-8", "surrogatepass"))
    return content.hexdigest()
